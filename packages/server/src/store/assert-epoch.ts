import { BerthError } from '@berth/protocol'

/** Throws `conflict` when a caller acts under a lease that has passed to another. */
export function assertEpoch(session: { readonly id: string; readonly epoch: number }, epoch: number | undefined): void {
  if (epoch === session.epoch) return
  const under = epoch === undefined ? 'no lease' : String(epoch)
  throw new BerthError(
    'conflict',
    `session ${session.id} is at epoch ${session.epoch}, this server acts under ${under}`,
  )
}
