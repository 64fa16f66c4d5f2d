import type { Limits } from '@berth/protocol/api/limits'
import { newId } from '../domain/ids.ts'
import { sessionFailure } from '../domain/turn/failure.ts'
import { abandonCalls } from './park-turn.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { Db } from './store.ts'

export interface LimitTurnArgs {
  readonly sessionId: string
  readonly epoch: number
  readonly limit: keyof Limits
  readonly now: string
}

/** Ends the turn because a limit is reached: says which, and interrupts. Nothing while the session does not work. */
export async function limitTurn(db: Db, args: LimitTurnArgs): Promise<Committed> {
  const log = await SessionLog.load(db, args)
  const isWorking = log.row.status === 'running' || log.row.status === 'rescheduling'
  if (!isWorking || log.turn.failure !== null) return { row: log.row, events: [], commands: [] }
  const error = sessionFailure('unknown_error', `the turn was ended by its limit ${args.limit}`, 'exhausted')
  log.turn = { ...log.turn, failure: error, interrupted: true }
  log.add({ id: newId('sevt'), type: 'session.error', error })
  if (log.turn.parked === null) log.command({ type: 'interrupt' })
  else await abandonCalls(db, log, { type: 'retries_exhausted' })
  return log.save()
}
