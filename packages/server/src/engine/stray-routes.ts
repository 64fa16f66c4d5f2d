import { isBerthError } from '@berth/protocol'
import type { EngineDeps } from './deps.ts'

/**
 * Closes the ways out of sessions that are over: the server that ended one was killed before the gateway knew, or the gateway was away. A way is
 * opened for a session that lives, and one that is over does not come back, so that none is closed which is in use.
 */
export async function closeStrayRoutes({ gateway, store, logger }: EngineDeps): Promise<void> {
  try {
    const routed = await gateway.sessions()
    const living = new Set(await store.listLivingOf({ ids: routed }))
    for (const id of routed.filter((each) => !living.has(each))) {
      logger.warn({ session_id: id }, 'closing the way out of a session that is over')
      await gateway.unroute(id)
    }
  } catch (error) {
    // With the next round.
    if (!isBerthError(error, 'unavailable') && !isBerthError(error, 'timeout')) throw error
  }
}
