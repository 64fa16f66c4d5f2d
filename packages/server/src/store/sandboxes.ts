/** Which sandbox belongs to which session, and what is still unacknowledged on the link between them. */
import { command, type Command } from '@berth/protocol'
import { cutTurn } from '../domain/turn/translate.ts'
import { TurnLog } from '../domain/turn/turn-log.ts'
import { resolveTools } from '../domain/toolset.ts'
import { sessionAgent } from '@berth/protocol/api/session'
import { newId } from '../domain/ids.ts'
import { recoverTurn } from './recover-turn.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { SandboxState } from './schema.ts'
import type { Db } from './store.ts'
import { listTranscriptSizes } from './transcripts.ts'

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
  if (session.link_received === 0) await requeue(db, args.sessionId)
  await db
    .updateTable('sessions')
    .set({
      sandbox_id: args.sandboxId,
      opened: null,
      link_received: 0,
      link_sent: 0,
      needs_restore: Object.keys(await listTranscriptSizes(db, args)).length > 0 ? 1 : 0,
    })
    .where('id', '=', args.sessionId)
    .execute()
}

/** Nothing was ever heard from the sandbox: what was handed to it has not run, and waits for the next one. */
async function requeue(db: Db, sessionId: string): Promise<void> {
  await db
    .updateTable('inputs')
    .set({ state: 'queued' })
    .where('session_id', '=', sessionId)
    .where('state', '=', 'delivered')
    .execute()
}

/** Forgets a sandbox that is gone for good. */
export async function removeSandbox(db: Db, args: { sandboxId: string }): Promise<void> {
  const owner = await db
    .selectFrom('sessions')
    .select(['id', 'link_received'])
    .where('sandbox_id', '=', args.sandboxId)
    .executeTakeFirst()
  if (owner?.link_received === 0) await requeue(db, owner.id)
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

export interface LoseSandboxArgs {
  readonly sessionId: string
  readonly epoch: number
  readonly sandboxId: string
  readonly why: string
  readonly now: string
}

/**
 * The session's sandbox is gone, or could not be made. A turn that was under way is recovered in another one; between turns that is told
 * and the next input brings it about.
 */
export async function loseSandbox(db: Db, args: LoseSandboxArgs): Promise<Committed> {
  const log = await SessionLog.load(db, args)
  if (log.row.sandbox_id !== args.sandboxId || log.row.status === 'terminated') {
    return { row: log.row, events: [], commands: [] }
  }
  const agent = sessionAgent.parse(JSON.parse(log.row.agent))
  const context = {
    threadId: log.row.thread_id,
    agentName: agent.name,
    tools: resolveTools(agent.tools),
    newEventId: () => newId('sevt'),
    previews: {},
  }
  const closing = new TurnLog(structuredClone(log.turn), context)
  cutTurn(closing, args.why)
  for (const event of closing.events) log.add(event)
  Object.assign(log.row, { sandbox_id: null, opened: null })
  await takeUndelivered(db, args.sessionId)
  if (closing.cut !== undefined) await recoverTurn(db, log, { lost: 'sandbox', ...closing.cut })
  return log.save()
}

/** The input that was about to be handed over when the sandbox failed counts as handed over: its tries are bounded, too. */
async function takeUndelivered(db: Db, sessionId: string): Promise<void> {
  const head = await db
    .selectFrom('inputs')
    .select(['seq', 'state'])
    .where('session_id', '=', sessionId)
    .where('state', '!=', 'done')
    .orderBy('seq')
    .limit(1)
    .executeTakeFirst()
  if (head?.state !== 'queued') return
  await db
    .updateTable('inputs')
    .set({ state: 'delivered' })
    .where('session_id', '=', sessionId)
    .where('seq', '=', head.seq)
    .execute()
}
