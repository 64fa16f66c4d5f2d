/** The right to act for the sessions of a group: one server at a time, under a number that only grows. */
import { BerthError } from '@berth/protocol'
import type { Db } from './store.ts'

export interface TakeLeaseArgs {
  readonly groupId: string
  /** Names the server that asks. */
  readonly holder: string
  readonly until: string
  readonly now: string
}

/** The epoch under which the holder may act until then; undefined while another holds it. `not_found` without such a group. */
export async function takeLease(db: Db, args: TakeLeaseArgs): Promise<number | undefined> {
  const row = await db
    .selectFrom('session_groups')
    .select(['lease_holder', 'lease_until', 'epoch'])
    .where('id', '=', args.groupId)
    .executeTakeFirst()
  if (row === undefined) throw new BerthError('not_found', `nobody is left in group ${args.groupId}`)
  const isMine = row.lease_holder === args.holder
  if (!isMine && row.lease_until !== null && row.lease_until > args.now) return undefined
  const epoch = isMine ? row.epoch : row.epoch + 1
  await db
    .updateTable('session_groups')
    .set({ lease_holder: args.holder, lease_until: args.until, epoch })
    .where('id', '=', args.groupId)
    .execute()
  return epoch
}

/** Extends every lease that the holder still has; answers the groups. A lease that passed to another stays there. */
export async function renewLeases(db: Db, args: { holder: string; until: string }): Promise<string[]> {
  const rows = await db
    .updateTable('session_groups')
    .set({ lease_until: args.until })
    .where('lease_holder', '=', args.holder)
    .returning('id')
    .execute()
  return rows.map((row) => row.id)
}

/** Ends leases at once: the holder's own when it stops, everybody's where it is certain that no other server lives. */
export async function releaseLeases(db: Db, args: { holder: string | null }): Promise<void> {
  let query = db
    .updateTable('session_groups')
    .set({ lease_holder: null, lease_until: null })
    .where('lease_holder', 'is not', null)
  if (args.holder !== null) query = query.where('lease_holder', '=', args.holder)
  await query.execute()
}
