/**
 * This server's leases: the right to act for a session, taken when the session has work, renewed while this server lives, gone when it does
 * not. Under every write stands the lease's epoch; the store refuses one that has passed to another server.
 */
import { BerthError } from '@berth/protocol'
import type { EngineDeps } from './deps.ts'

const LEASE_MS = 15_000
const RENEW_EVERY_MS = 5_000

export class Leases implements AsyncDisposable {
  readonly #deps: EngineDeps
  readonly #holder: string
  readonly #epochs = new Map<string, Promise<number>>()
  readonly #timer: NodeJS.Timeout
  #renewing: Promise<void> = Promise.resolve()

  constructor(deps: EngineDeps) {
    this.#deps = deps
    this.#holder = `server-${deps.epoch}`
    this.#timer = setInterval(() => {
      this.#renewing = this.#renew()
    }, RENEW_EVERY_MS)
  }

  /** The epoch under which to act. Throws `conflict` while another server holds the lease. */
  epoch(sessionId: string): Promise<number> {
    const known = this.#epochs.get(sessionId)
    if (known !== undefined) return known
    const taken = this.#take(sessionId)
    this.#epochs.set(sessionId, taken)
    taken.catch(() => this.forget(sessionId))
    return taken
  }

  /** The next act asks anew: the lease was lost, or the session is over. */
  forget(sessionId: string): void {
    this.#epochs.delete(sessionId)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await this.#renewing
    try {
      await this.#deps.store.releaseLeases({ holder: this.#holder })
    } catch (error) {
      // They lapse by themselves.
      this.#deps.logger.warn({ err: error }, 'leases could not be released')
    }
  }

  async #take(sessionId: string): Promise<number> {
    const now = this.#deps.clock.now()
    const until = new Date(now.getTime() + LEASE_MS).toISOString()
    const args = { sessionId, holder: this.#holder, until, now: now.toISOString() }
    const epoch = await this.#deps.store.takeLease(args)
    if (epoch === undefined) throw new BerthError('conflict', `another server acts for session ${sessionId}`)
    return epoch
  }

  async #renew(): Promise<void> {
    const { store, clock, logger } = this.#deps
    try {
      const until = new Date(clock.now().getTime() + LEASE_MS).toISOString()
      const mine = new Set(await store.renewLeases({ holder: this.#holder, until }))
      for (const sessionId of this.#epochs.keys()) if (!mine.has(sessionId)) this.forget(sessionId)
    } catch (error) {
      logger.error({ err: error }, 'leases could not be renewed')
    }
  }
}
