/** A new session that begins where another one was. */
import type { ForkSessionBody } from '@berth/protocol/api/checkpoint'
import { stopReason } from '@berth/protocol/api/event'
import { z } from 'zod'
import { toTranscriptSizes } from '../domain/checkpoint.ts'
import { invalid, notFound } from '../domain/refusal.ts'
import { freshTurn } from '../domain/turn/turn-state.ts'
import { type CheckpointRow, copyCheckpoint, findCheckpoint, findNewestCheckpoint } from './checkpoints.ts'
import { environmentConfig } from '@berth/protocol/api/environment'
import { copyEvents } from './copy-events.ts'
import { copySeenTools } from './seen-tools.ts'
import { enterGroup } from './session-groups.ts'
import { getSession } from './sessions.ts'
import type { SessionRow } from './session-log.ts'
import type { Db } from './store.ts'
import { copyTranscripts, holdsConversation } from './transcripts.ts'
import { unbegun } from './unbegun.ts'

export interface ForkSessionArgs {
  readonly workspaceId: string
  /** The one that it is forked from. */
  readonly sessionId: string
  readonly body: ForkSessionBody
  readonly id: string
  readonly threadId: string
  readonly checkpointId: string
  readonly now: string
}

export interface Fork {
  readonly row: SessionRow
  readonly checkpoint: { readonly id: string; readonly asOf: string } | null
}

/** Where a fork is: behind the last event that it has. */
interface ForkPoint {
  readonly place: number
  readonly rest: Rest
  /** Bytes of each transcript file up to there. */
  readonly transcripts: Readonly<Record<string, number>>
  readonly checkpoint: CheckpointRow | undefined
}

/** How a session rests at a place of its log. */
interface Rest {
  /** JSON; null: nothing had begun. */
  readonly stopReason: string | null
  readonly place: number
  readonly transcripts: Readonly<Record<string, number>>
}

/** `not_found` without such a session, event or checkpoint of it; `invalid_request` for an event within a turn. */
export async function forkSession(db: Db, args: ForkSessionArgs): Promise<Fork> {
  const source = await getSession(db, { workspaceId: args.workspaceId, id: args.sessionId })
  const point = await findPoint(db, source, args.body)
  const { ord: _, ...columns } = source
  const name = args.body.berth?.sandbox ?? null
  const row = await db
    .insertInto('sessions')
    .values({
      ...columns,
      ...unbegun,
      ...(await enterGroup(db, {
        workspaceId: args.workspaceId,
        sessionId: args.id,
        environmentId: source.environment_id,
        environment: environmentConfig.parse(JSON.parse(source.environment)),
        name,
      })),
      // In a sandbox of its own it keeps the working directory that the agent knows.
      subdir: name === null ? source.subdir : args.id,
      id: args.id,
      name_inside: args.id,
      thread_id: args.threadId,
      title: args.body.title === undefined ? source.title : args.body.title,
      metadata: args.body.metadata === undefined ? source.metadata : JSON.stringify(args.body.metadata),
      stop_reason: point.rest.stopReason,
      turn: JSON.stringify(freshTurn),
      created_at: args.now,
      updated_at: args.now,
      idle_since: args.now,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  row.last_seq = await copyEvents(db, { from: source, to: row, place: point.place })
  await copyTranscripts(db, { from: source.id, to: row.id, sizes: point.transcripts })
  await copySeenTools(db, { from: source.id, to: row.id })
  row.has_transcript = (await holdsConversation(db, { sessionId: row.id })) ? 1 : 0
  // The files are those of the fork's place only if no turn was between the two.
  row.is_changed = (point.checkpoint?.seq ?? 0) < point.rest.place ? 1 : 0
  const { last_seq, has_transcript, is_changed } = row
  await db.updateTable('sessions').set({ last_seq, has_transcript, is_changed }).where('id', '=', row.id).execute()
  return { row, checkpoint: await takeFiles(db, args, point.checkpoint) }
}

async function takeFiles(
  db: Db,
  args: ForkSessionArgs,
  checkpoint: CheckpointRow | undefined,
): Promise<Fork['checkpoint']> {
  if (checkpoint === undefined) return null
  const { workspaceId, checkpointId, id: sessionId, now } = args
  await copyCheckpoint(db, { workspaceId, from: checkpoint.id, id: checkpointId, sessionId, seq: 0, now })
  return { id: checkpoint.id, asOf: checkpoint.created_at }
}

async function findPoint(db: Db, source: SessionRow, body: ForkSessionBody): Promise<ForkPoint> {
  const { checkpoint_id, event_id = '' } = body
  if (checkpoint_id !== undefined) {
    const checkpoint = await findCheckpoint(db, { workspaceId: source.workspace_id, id: checkpoint_id })
    if (checkpoint?.session_id !== source.id) throw notFound('checkpoint', checkpoint_id)
    if (checkpoint.is_damaged === 1) throw invalid('checkpoint_id', 'is damaged; fork at another')
    const rest = await findRest(db, source.id, checkpoint.seq)
    if (rest === undefined) throw invalid('checkpoint_id', 'was taken within a turn; fork at another')
    return { place: checkpoint.seq, rest, transcripts: toTranscriptSizes(checkpoint), checkpoint }
  }
  const event = await db
    .selectFrom('events')
    .select('place')
    .where('session_id', '=', source.id)
    .where('id', '=', event_id)
    .executeTakeFirst()
  if (event === undefined) throw notFound('event', event_id)
  const rest = event.place === null ? undefined : await findRest(db, source.id, event.place)
  if (event.place === null || rest === undefined) {
    throw invalid('event_id', 'is within a turn; fork at the session.status_idle that ends it, or at one before')
  }
  const checkpoint = await findNewestCheckpoint(db, { sessionId: source.id, notAfter: event.place })
  return { place: event.place, rest, transcripts: rest.transcripts, checkpoint }
}

const statuses = ['session.status_idle', 'session.status_running', 'session.status_rescheduled'] as const
const idle = z.object({ stop_reason: stopReason })

/** undefined: it is in a turn there, or waits for an answer. */
async function findRest(db: Db, sessionId: string, place: number): Promise<Rest | undefined> {
  const last = await db
    .selectFrom('events')
    .select(['type', 'body', 'place', 'transcripts'])
    .where('session_id', '=', sessionId)
    .where('place', '<=', place)
    .where('type', 'in', statuses)
    .orderBy('place', 'desc')
    .limit(1)
    .executeTakeFirst()
  if (last === undefined) return { stopReason: null, place: 0, transcripts: {} }
  if (last.type !== 'session.status_idle') return undefined
  const { stop_reason } = idle.parse(JSON.parse(last.body))
  if (stop_reason.type === 'requires_action') return undefined
  return {
    stopReason: JSON.stringify(stop_reason),
    place: last.place ?? 0,
    transcripts: toTranscriptSizes({ transcripts: last.transcripts ?? '{}' }),
  }
}
