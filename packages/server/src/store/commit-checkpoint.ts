import { BerthError } from '@berth/protocol'
import type { ArchiveRoot } from '@berth/protocol/archive'
import type { CheckpointCause, SavedTree } from '../domain/checkpoint.ts'
import { notFound } from '../domain/refusal.ts'
import type { CheckpointRow } from './checkpoints.ts'
import { findPacks } from './chunks.ts'
import { SessionLog } from './session-log.ts'
import type { Db } from './store.ts'
import { listTranscriptSizes } from './transcripts.ts'

export interface CommitCheckpointArgs {
  readonly id: string
  readonly workspaceId: string
  readonly sessionId: string
  /** The lease under which the caller acts. */
  readonly epoch: number
  readonly now: string
  readonly why: CheckpointCause
  /** How many checkpoints the session may have with this one, at least 1; the oldest go. */
  readonly keep: number
  /** What the files go with: `getCheckpointPlace`, asked when they stood still. */
  readonly place: CheckpointPlace
  readonly roots: readonly ArchiveRoot[]
  readonly archive: SavedTree
}

/** Where a session stands in its log and in its transcript. */
export interface CheckpointPlace {
  /** The log's last sequence number. */
  readonly seq: number
  readonly sdkSessionId: string
  /** Bytes per transcript file that have been shipped. */
  readonly transcripts: Readonly<Record<string, number>>
}

/** `not_found` unless there is such a session. */
export async function getCheckpointPlace(db: Db, args: { sessionId: string }): Promise<CheckpointPlace> {
  const session = await db
    .selectFrom('sessions')
    .select(['last_seq', 'sdk_session_id'])
    .where('id', '=', args.sessionId)
    .executeTakeFirst()
  if (session === undefined) throw notFound('session', args.sessionId)
  const transcripts = await listTranscriptSizes(db, args)
  return { seq: session.last_seq, sdkSessionId: session.sdk_session_id, transcripts }
}

/**
 * The save's packs and the checkpoint, as one. Answers how many older ones went, too. `conflict` when the lease has passed to another; `unavailable` when bytes that it relies on are gone: save again.
 */
export async function commitCheckpoint(
  db: Db,
  args: CommitCheckpointArgs,
): Promise<{ checkpoint: CheckpointRow; removed: number }> {
  const { archive } = args
  const { row: session } = await SessionLog.load(db, args)
  const { numUpdatedRows: own } = await db
    .updateTable('packs')
    .set({ save_id: null })
    .where('save_id', '=', archive.saveId)
    .executeTakeFirstOrThrow()
  const others = await findPacks(db, { ids: archive.reliesOn })
  if (Number(own) !== archive.packs || others.length !== archive.reliesOn.length) {
    throw new BerthError('unavailable', 'bytes that the checkpoint relies on were removed meanwhile; save again')
  }
  const checkpoint = await db
    .insertInto('checkpoints')
    .values({
      id: args.id,
      workspace_id: args.workspaceId,
      session_id: session.id,
      created_at: args.now,
      seq: args.place.seq,
      why: args.why,
      sdk_session_id: args.place.sdkSessionId,
      transcripts: JSON.stringify(args.place.transcripts),
      roots: JSON.stringify(args.roots),
      segments: JSON.stringify(archive.segments),
      entries: archive.entries,
      bytes: archive.bytes,
      stored_bytes: archive.storedBytes,
      refused: JSON.stringify(archive.refused),
      refused_count: archive.refusedCount,
      is_damaged: 0,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  return { checkpoint, removed: await removeOldest(db, session.id, args.keep) }
}

async function removeOldest(db: Db, sessionId: string, keep: number): Promise<number> {
  const kept = db
    .selectFrom('checkpoints')
    .select('ord')
    .where('session_id', '=', sessionId)
    .orderBy('ord', 'desc')
    .limit(Math.max(1, keep))
  const { numDeletedRows } = await db
    .deleteFrom('checkpoints')
    .where('session_id', '=', sessionId)
    .where('ord', 'not in', kept)
    .executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}
