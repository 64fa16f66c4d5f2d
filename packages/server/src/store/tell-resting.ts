/** What is told of a session that rests. */
import { newId } from '../domain/ids.ts'
import { sessionFailure } from '../domain/turn/failure.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { Db } from './store.ts'

export interface TellRestingArgs {
  readonly sessionId: string
  readonly epoch: number
  readonly news:
    | { readonly type: 'processes_ended'; readonly count: number }
    /** The files could not be saved. `why` is for clients to read. */
    | { readonly type: 'not_saved'; readonly why: string }
  readonly now: string
}

export async function tellResting(db: Db, args: TellRestingArgs): Promise<Committed> {
  const log = await SessionLog.load(db, args)
  if (log.row.status === 'terminated') return { row: log.row, events: [], commands: [] }
  const id = newId('sevt')
  switch (args.news.type) {
    case 'processes_ended':
      log.add({ id, type: 'berth.processes_ended', count: args.news.count })
      break
    case 'not_saved': {
      const what = `the session's files could not be saved, its sandbox stays: ${args.news.why}`
      log.add({ id, type: 'session.error', error: sessionFailure('unknown_error', what.slice(0, 2_000), 'retrying') })
      break
    }
    default:
      args.news satisfies never
  }
  return log.save()
}
