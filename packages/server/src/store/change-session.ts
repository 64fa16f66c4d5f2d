/** Changes to a session as a whole: update, archive, delete. */
import { BerthError } from '@berth/protocol'
import type { SessionEvent } from '@berth/protocol/api/event'
import type { UpdateSessionBody } from '@berth/protocol/api/session'
import type { Prices } from '@berth/protocol/prices'
import { newId } from '../domain/ids.ts'
import { sessionChanges } from '../domain/session.ts'
import { leaveSandbox } from './departures.ts'
import { leaveGroup } from './session-groups.ts'
import { resumeTurn } from './pause-turn.ts'
import { noteSandboxTime } from './sandbox-time.ts'
import { forgetSeenTools } from './seen-tools.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { Db } from './store.ts'

export interface UpdateSessionArgs {
  readonly workspaceId: string
  readonly sessionId: string
  readonly body: UpdateSessionBody
  readonly prices: Prices
  readonly now: string
}

/** An update that changes nothing is no event. */
export async function updateSession(db: Db, args: UpdateSessionArgs): Promise<Committed> {
  const log = await SessionLog.load(db, args)
  const changes = sessionChanges(log.row, args.body, { prices: args.prices, now: new Date(args.now) })
  if (changes === undefined) return unchanged(log)
  const { title, metadata, agent, budget } = changes
  if (title !== undefined) log.row.title = title
  if (metadata !== undefined) log.row.metadata = JSON.stringify(metadata)
  if (agent !== undefined) log.row.agent = JSON.stringify(agent)
  if (budget !== undefined) log.row.budget = budget === null ? null : JSON.stringify(budget)
  log.add({
    id: newId('sevt'),
    type: 'session.updated',
    ...(title === undefined ? {} : { title }),
    ...(metadata === undefined || Object.keys(metadata).length === 0 ? {} : { metadata }),
    ...(agent === undefined ? {} : { agent }),
    ...(budget === undefined ? {} : { budget }),
  })
  // A limit of the workspace is not raised with it.
  if (budget !== undefined && log.turn.paused !== 'workspace_limit') await resumeTurn(db, log)
  return log.save()
}

function unchanged(log: SessionLog): Committed {
  return { row: log.row, events: [], commands: [] }
}

interface EndSessionArgs {
  readonly workspaceId: string
  readonly sessionId: string
  readonly now: string
}

function checkNotRunning(log: SessionLog, verb: string): void {
  if (log.row.status === 'running' || log.row.status === 'rescheduling') {
    throw new BerthError('invalid_request', `the session is running; interrupt it before you ${verb} it`)
  }
}

/** Up to now: from here on nobody, or those who live there still, have its time. */
async function countSandboxTime(db: Db, { row, now }: SessionLog): Promise<void> {
  if (row.sandbox_id !== null) await noteSandboxTime(db, { sandboxId: row.sandbox_id, now })
}

/** Archiving what is archived changes nothing. */
export async function archiveSession(db: Db, args: EndSessionArgs): Promise<Committed> {
  const log = await SessionLog.load(db, args)
  if (log.row.archived_at !== null) return unchanged(log)
  checkNotRunning(log, 'archive')
  await countSandboxTime(db, log)
  log.row.archived_at = args.now
  if (log.row.status !== 'terminated') log.toTerminated()
  log.row.sandbox_id = await leaveSandbox(db, log.row)
  return log.save()
}

/** Answers the last event that streams of the session see, and the sandbox that is nobody's now. */
export async function deleteSession(
  db: Db,
  args: EndSessionArgs,
): Promise<{ event: SessionEvent; sandboxId: string | null }> {
  const log = await SessionLog.load(db, args)
  checkNotRunning(log, 'delete')
  const id = args.sessionId
  await countSandboxTime(db, log)
  const sandboxId = await leaveSandbox(db, log.row)
  await db.deleteFrom('events').where('session_id', '=', id).execute()
  await db.deleteFrom('inputs').where('session_id', '=', id).execute()
  await db.deleteFrom('outbox').where('session_id', '=', id).execute()
  await db.deleteFrom('transcripts').where('session_id', '=', id).execute()
  await forgetSeenTools(db, args)
  await db.deleteFrom('checkpoints').where('session_id', '=', id).execute()
  await db.deleteFrom('sdk_messages').where('session_id', '=', id).execute()
  await db.deleteFrom('sessions').where('id', '=', id).execute()
  await leaveGroup(db, log.row.group_id)
  return { event: { id: newId('sevt'), type: 'session.deleted', processed_at: args.now }, sandboxId }
}
