import { newId } from '../domain/ids.ts'
import { sessionFailure } from '../domain/turn/failure.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { Db } from './store.ts'

export interface MarkDamagedArgs {
  readonly sessionId: string
  readonly epoch: number
  readonly checkpointId: string
  readonly now: string
}

/** Stored bytes of the checkpoint are not what they were: no sandbox is given its files any more, and the session says so. */
export async function markCheckpointDamaged(db: Db, args: MarkDamagedArgs): Promise<Committed> {
  const log = await SessionLog.load(db, args)
  const { numUpdatedRows } = await db
    .updateTable('checkpoints')
    .set({ is_damaged: 1 })
    .where('id', '=', args.checkpointId)
    .where('is_damaged', '=', 0)
    .executeTakeFirstOrThrow()
  if (numUpdatedRows === 0n) return { row: log.row, events: [], commands: [] }
  // What an earlier one has, or nothing, is older than the conversation.
  log.row.is_changed = 1
  const what = `checkpoint ${args.checkpointId} is damaged: its files cannot be brought back`
  log.add({ id: newId('sevt'), type: 'session.error', error: sessionFailure('unknown_error', what, 'retrying') })
  return log.save()
}
