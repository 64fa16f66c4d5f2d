/** Where a session's files are, and how well they fit its conversation. */
import { BerthError } from '@berth/protocol'
import { toTree } from '../domain/checkpoint.ts'
import { isPaused, waitsForClient } from '../domain/session.ts'
import { findNewestCheckpoint } from './checkpoints.ts'
import { endSandboxTime } from './sandbox-time.ts'
import { SessionLog, type SessionRow } from './session-log.ts'
import type { Db } from './store.ts'

/** What a new sandbox of the session has of its files. */
export type FilesState =
  /** All, as the agent left them. */
  | { readonly type: 'kept' }
  /** Those of `/mnt/session/outputs`: the checkpoint has no others. */
  | { readonly type: 'outputs' }
  /** Those of a checkpoint that is older than the conversation; RFC 3339. */
  | { readonly type: 'older'; readonly asOf: string }
  | { readonly type: 'gone' }

export async function findFilesState(db: Db, session: Pick<SessionRow, 'id' | 'is_changed'>): Promise<FilesState> {
  const checkpoint = await findNewestCheckpoint(db, { sessionId: session.id })
  if (checkpoint === undefined) return { type: 'gone' }
  if (session.is_changed === 1) return { type: 'older', asOf: checkpoint.created_at }
  return { type: toTree(checkpoint).roots.some(({ name }) => name === 'workspace') ? 'kept' : 'outputs' }
}

/** From when the files are that a new sandbox has where they are older than the conversation. */
export async function filesAsOf(db: Db, session: Parameters<typeof findFilesState>[1]): Promise<string | null> {
  const files = await findFilesState(db, session)
  return files.type === 'older' ? files.asOf : null
}

interface SandboxKey {
  readonly sessionId: string
  readonly epoch: number
  readonly sandboxId: string
  readonly now: string
}

/** The session's sandbox has the files of its newest checkpoint. `conflict` when the lease has passed to another. */
export async function noteFilesRestored(db: Db, args: SandboxKey): Promise<void> {
  const { row } = await SessionLog.load(db, args)
  if (row.sandbox_id !== args.sandboxId) return
  await db.updateTable('sessions').set({ files_in: args.sandboxId }).where('id', '=', row.id).execute()
}

/** Something changes in the sandbox of a session that rests. `conflict` as above. */
export async function noteFilesChanged(db: Db, args: SandboxKey): Promise<void> {
  const { row } = await SessionLog.load(db, args)
  if (row.sandbox_id !== args.sandboxId) throw new BerthError('unavailable', 'the sandbox was lost meanwhile')
  const change = { is_changed: 1, idle_since: row.status === 'idle' ? args.now : null }
  await db.updateTable('sessions').set(change).where('id', '=', row.id).execute()
}

/** Nothing has changed in the sandbox since the newest checkpoint. `conflict` as above. */
export async function noteFilesSaved(db: Db, args: SandboxKey): Promise<void> {
  const { row } = await SessionLog.load(db, args)
  if (row.sandbox_id !== args.sandboxId || row.idle_since === null) return
  await db.updateTable('sessions').set({ is_changed: 0 }).where('id', '=', row.id).execute()
}

/**
 * The session's turn is over and it lets its sandbox go; the next input gets another. Answers false, and changes nothing, where it rests no more or lives
 * in another sandbox. `conflict` as above.
 */
export async function releaseSandbox(db: Db, args: SandboxKey): Promise<boolean> {
  const { row } = await SessionLog.load(db, args)
  if (row.sandbox_id !== args.sandboxId || row.idle_since === null || waitsForClient(row)) return false
  if (!isPaused(row) && (await hasWork(db, row.id))) return false
  await endSandboxTime(db, args.sandboxId, args.now)
  await db.deleteFrom('outbox').where('session_id', '=', row.id).execute()
  const change = { sandbox_id: null, opened: null, files_in: null, is_changed: 0 }
  await db.updateTable('sessions').set(change).where('id', '=', row.id).execute()
  return true
}

async function hasWork(db: Db, sessionId: string): Promise<boolean> {
  const input = await db
    .selectFrom('inputs')
    .select('seq')
    .where('session_id', '=', sessionId)
    .where('state', '=', 'queued')
    .executeTakeFirst()
  return input !== undefined
}
