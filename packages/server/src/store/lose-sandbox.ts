/** What becomes of the sessions whose sandbox is gone. */
import { parseSessionAgent } from '../domain/session.ts'
import { sessionTools } from '../domain/session-tools.ts'
import { newId } from '../domain/ids.ts'
import { cutTurn, lossOf } from '../domain/turn/translate.ts'
import { TurnLog } from '../domain/turn/turn-log.ts'
import { findFilesState } from './files-state.ts'
import { parkTurn } from './park-turn.ts'
import { recoverTurn } from './recover-turn.ts'
import { endSandboxTime } from './sandbox-time.ts'
import { listSandboxSessions } from './sandboxes.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { Db } from './store.ts'

export interface LoseSandboxArgs {
  readonly epoch: number
  readonly sandboxId: string
  readonly why: string
  /** `kept`: the sandbox can be started again on its own disk, and its sessions stay in it. */
  readonly files: 'kept' | 'gone'
  /** The sessions were told before; what is new is that the files are gone. */
  readonly isCounted: boolean
  readonly now: string
}

/**
 * The sandbox is gone, or could not be made: all who live in it are told as one. A turn that was under way is recovered in another sandbox, or in the
 * same one with its files; between turns the next input brings that about, and only what cannot be brought back is told.
 */
export async function loseSandbox(db: Db, args: LoseSandboxArgs): Promise<Committed[]> {
  const sessions = await listSandboxSessions(db, args)
  if (sessions.length > 0) await endSandboxTime(db, args.sandboxId, args.now)
  const told: Committed[] = []
  for (const { id } of sessions)
    told.push(await tellLoss(db, await SessionLog.load(db, { ...args, sessionId: id }), args))
  // No launch has this nonce: what is still under way from the one that ended is nobody's.
  await db.updateTable('sandboxes').set({ state: 'lost', nonce: '' }).where('id', '=', args.sandboxId).execute()
  return told
}

async function tellLoss(db: Db, log: SessionLog, args: LoseSandboxArgs): Promise<Committed> {
  log.row.opened = null
  if (args.files === 'gone') log.row.sandbox_id = null
  await takeUndelivered(db, log.row.id)
  const lost = args.files === 'kept' ? 'sandbox_processes' : 'sandbox'
  // Heard of since, it is lost a further time.
  const isCounted = args.isCounted && log.row.link_received === 0
  if (await parkTurn(db, log, { lost, isCounted })) {
    if (lost === 'sandbox') log.add({ id: newId('sevt'), type: 'session.error', error: lossOf(args.why) })
    return log.save()
  }
  const agent = parseSessionAgent(log.row.agent)
  const context = {
    threadId: log.row.thread_id,
    agentName: agent.name,
    tools: sessionTools(agent, log.row),
    newEventId: () => newId('sevt'),
    previews: {},
    stopped: null,
  }
  const closing = new TurnLog(structuredClone(log.turn), context)
  cutTurn(closing, args.why)
  for (const event of closing.events) log.add(event)
  const files = await findFilesState(db, log.row)
  if (closing.cut !== undefined) await recoverTurn(db, log, { lost, files, isCounted, ...closing.cut })
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
