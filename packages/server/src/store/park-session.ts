/** Lets go of the sandbox of a session that waits for answers. */
import { fateOf } from '../domain/turn/held-calls.ts'
import { parkTurn } from './park-turn.ts'
import { isPresentLaunch } from './present-launch.ts'
import { endSandboxTime } from './sandbox-time.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { Db } from './store.ts'

export interface ParkSessionArgs {
  readonly sessionId: string
  readonly epoch: number
  readonly sandboxId: string
  /** Of the sandbox's launch that this is about. */
  readonly nonce: string
  readonly now: string
}

/**
 * The session has no sandbox from then on, and what its runner still reports is nobody's: the caller ends the sandbox. With the last answer
 * it gets another. undefined, and nothing has changed: it does not wait, a call that was allowed is under way, or its calls cannot be kept.
 */
export async function parkSession(db: Db, args: ParkSessionArgs): Promise<Committed | undefined> {
  const log = await SessionLog.load(db, args)
  const { status, stopReason, turn } = log.situation
  if (status !== 'idle' || stopReason?.type !== 'requires_action') return undefined
  if (!(await isPresentLaunch(db, log.row, args))) return undefined
  if (Object.values(turn.calls).some((call) => fateOf(call) === 'unknown')) return undefined
  if (!(await parkTurn(db, log, { lost: 'put_away' }))) return undefined
  await endSandboxTime(db, args.sandboxId, args.now)
  await db.updateTable('sandboxes').set({ nonce: '' }).where('id', '=', args.sandboxId).execute()
  log.row.sandbox_id = null
  log.row.files_in = null
  log.row.is_changed = 0
  return log.save()
}
