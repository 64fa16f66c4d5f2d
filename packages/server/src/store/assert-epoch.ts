import { BerthError } from '@berth/protocol'
import type { Db } from './store.ts'

/** Throws `conflict` when a caller acts for the session under a lease of its group that has passed to another. */
export async function assertEpoch(
  db: Db,
  session: { readonly id: string; readonly group_id: string },
  epoch: number | undefined,
): Promise<void> {
  const group = await db
    .selectFrom('session_groups')
    .select('epoch')
    .where('id', '=', session.group_id)
    .executeTakeFirstOrThrow()
  if (epoch === group.epoch) return
  const under = epoch === undefined ? 'no lease' : String(epoch)
  throw new BerthError('conflict', `session ${session.id} is at epoch ${group.epoch}, this server acts under ${under}`)
}
