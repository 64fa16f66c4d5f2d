/** Which sandbox belongs to which session, and what is still unacknowledged on the link between them. */
import { command, type Command } from '@berth/protocol'
import type { SessionError } from '@berth/protocol/api/event'
import { closeOpenCalls } from '../domain/turn/tool-calls.ts'
import { TurnLog } from '../domain/turn/turn-log.ts'
import { freshTurn } from '../domain/turn/turn-state.ts'
import { resolveTools } from '../domain/toolset.ts'
import { sessionAgent } from '@berth/protocol/api/session'
import { newId } from '../domain/ids.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { SandboxState } from './schema.ts'
import type { Db } from './store.ts'

export interface AssignSandboxArgs {
  readonly sessionId: string
  readonly sandboxId: string
  readonly driver: string
  readonly nonce: string
  readonly now: string
}

/** Gives the session a sandbox that is about to be made; its link starts at nought. */
export async function assignSandbox(db: Db, args: AssignSandboxArgs): Promise<void> {
  const session = await db
    .selectFrom('sessions')
    .select(['workspace_id', 'link_received'])
    .where('id', '=', args.sessionId)
    .executeTakeFirstOrThrow()
  await db
    .insertInto('sandboxes')
    .values({
      id: args.sandboxId,
      workspace_id: session.workspace_id,
      driver: args.driver,
      nonce: args.nonce,
      state: 'starting',
      created_at: args.now,
    })
    .execute()
  await db.deleteFrom('outbox').where('session_id', '=', args.sessionId).execute()
  // Nothing was ever heard from the sandbox before: what was handed to it has not run.
  if (session.link_received === 0) {
    await db
      .updateTable('inputs')
      .set({ state: 'queued' })
      .where('session_id', '=', args.sessionId)
      .where('state', '=', 'delivered')
      .execute()
  }
  await db
    .updateTable('sessions')
    .set({ sandbox_id: args.sandboxId, opened: null, link_received: 0, link_sent: 0 })
    .where('id', '=', args.sessionId)
    .execute()
}

export async function setSandboxState(db: Db, args: { sandboxId: string; state: SandboxState }): Promise<void> {
  await db.updateTable('sandboxes').set({ state: args.state }).where('id', '=', args.sandboxId).execute()
}

/** Forgets a sandbox that is gone for good. */
export async function removeSandbox(db: Db, args: { sandboxId: string }): Promise<void> {
  await db
    .updateTable('sessions')
    .set({ sandbox_id: null, opened: null })
    .where('sandbox_id', '=', args.sandboxId)
    .execute()
  await db.deleteFrom('sandboxes').where('id', '=', args.sandboxId).execute()
}

export interface KnownSandbox {
  readonly id: string
  readonly nonce: string
  readonly state: SandboxState
  readonly sessionId: string | null
}

export async function listSandboxes(db: Db, _args: object): Promise<KnownSandbox[]> {
  return db
    .selectFrom('sandboxes')
    .leftJoin('sessions', 'sessions.sandbox_id', 'sandboxes.id')
    .select(['sandboxes.id as id', 'sandboxes.nonce as nonce', 'sandboxes.state as state', 'sessions.id as sessionId'])
    .execute()
}

export async function findSandbox(db: Db, args: { sandboxId: string }): Promise<{ id: string } | undefined> {
  return db.selectFrom('sandboxes').select('id').where('id', '=', args.sandboxId).executeTakeFirst()
}

export interface LinkProgress {
  readonly sessionId: string
  readonly received: number
  readonly commands: { seq: number; body: Command }[]
}

/** What a reconnecting runner must be told: how far its frames are committed, and the commands it has not acknowledged. */
export async function findLinkProgress(db: Db, args: { sandboxId: string }): Promise<LinkProgress[]> {
  const sessions = await db
    .selectFrom('sessions')
    .select(['id', 'link_received'])
    .where('sandbox_id', '=', args.sandboxId)
    .execute()
  const progress: LinkProgress[] = []
  for (const session of sessions) {
    const rows = await db.selectFrom('outbox').selectAll().where('session_id', '=', session.id).orderBy('seq').execute()
    const commands = rows.map((row) => ({ seq: row.seq, body: command.parse(JSON.parse(row.body)) }))
    progress.push({ sessionId: session.id, received: session.link_received, commands })
  }
  return progress
}

/** The runner has handled these. */
export async function ackCommands(db: Db, args: { sessionId: string; sandboxId: string; seq: number }): Promise<void> {
  const present = db.selectFrom('sessions').select('id').where('sandbox_id', '=', args.sandboxId)
  await db
    .deleteFrom('outbox')
    .where('session_id', '=', args.sessionId)
    .where('session_id', 'in', present)
    .where('seq', '<=', args.seq)
    .execute()
}

export interface FailTurnArgs {
  readonly sessionId: string
  readonly error: SessionError
  readonly now: string
}

/**
 * The turn cannot go on: its calls are closed, the error is shown, the input that was inside (or would have been next) is done with.
 * With retry status `terminal` the session is terminated, else it is idle and takes the next message.
 */
export async function failTurn(db: Db, args: FailTurnArgs): Promise<Committed> {
  const log = await SessionLog.load(db, args)
  if (log.row.status === 'terminated') return log.save()
  const agent = sessionAgent.parse(JSON.parse(log.row.agent))
  const context = {
    threadId: log.row.thread_id,
    agentName: agent.name,
    tools: resolveTools(agent.tools),
    newEventId: () => newId('sevt'),
    previews: {},
  }
  const closing = new TurnLog(structuredClone(log.turn), context)
  closeOpenCalls(closing, 'The sandbox was lost while this call was open; whether it took effect is unknown.')
  for (const event of closing.events) log.add(event)
  log.turn = freshTurn
  log.add({ id: newId('sevt'), type: 'session.error', error: args.error })
  const open = await db
    .selectFrom('inputs')
    .selectAll()
    .where('session_id', '=', args.sessionId)
    .where('state', '!=', 'done')
    .orderBy('seq')
    .execute()
  const isTerminal = args.error.retry_status.type === 'terminal'
  for (const input of isTerminal ? open : open.slice(0, 1)) {
    if (input.state === 'queued') await log.process(input.event_id)
    await db.updateTable('inputs').set({ state: 'done' }).where('event_id', '=', input.event_id).execute()
  }
  if (isTerminal) log.toTerminated()
  else if (open.length > 1) log.row.status = 'running'
  else log.toIdle({ type: 'retries_exhausted' })
  return log.save()
}
