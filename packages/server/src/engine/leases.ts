/**
 * This server's leases: the right to act for a session, taken when the session has work, renewed while this server lives, gone when it does
 * not. Under every write stands the lease's epoch; the store refuses one that has passed to another server.
 */
import { BerthError, isBerthError } from '@berth/protocol'
import type { EngineDeps } from './deps.ts'

const LEASE_MS = 15_000
const RENEW_EVERY_MS = 5_000

export class Leases implements AsyncDisposable {
  readonly #deps: EngineDeps
  readonly #lost: (sessionId: string) => void
  readonly #holder: string
  readonly #epochs = new Map<string, Promise<number>>()
  readonly #timer: NodeJS.Timeout
  #renewing: Promise<void> = Promise.resolve()

  /** `lost` is called when the lease of a session is no longer the one under which this server has acted. */
  constructor(deps: EngineDeps, lost: (sessionId: string) => void) {
    this.#deps = deps
    this.#lost = lost
    this.#holder = `server-${deps.serverNumber}`
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
    taken.catch(() => {
      if (this.#epochs.get(sessionId) === taken) this.#epochs.delete(sessionId)
    })
    return taken
  }

  /** undefined: the session was deleted, and what it had is nobody's. */
  async epochUnlessDeleted(sessionId: string): Promise<number | undefined> {
    try {
      return await this.epoch(sessionId)
    } catch (error) {
      if (isBerthError(error, 'not_found')) return undefined
      throw error
    }
  }

  /** Somebody has refused this server's epoch, or something else was amiss: where the lease has passed to another, it is lost here. */
  async check(sessionId: string): Promise<void> {
    const before = await this.#epochs.get(sessionId)?.catch(() => undefined)
    this.#epochs.delete(sessionId)
    const after = await this.epoch(sessionId).catch(() => undefined)
    if (before !== undefined && after !== before) this.#lost(sessionId)
  }

  /** The session is over. */
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
      const before = [...this.#epochs.keys()]
      const mine = new Set(await store.renewLeases({ holder: this.#holder, until }))
      await Promise.all(before.filter((sessionId) => !mine.has(sessionId)).map((sessionId) => this.check(sessionId)))
    } catch (error) {
      logger.error({ err: error }, 'leases could not be renewed')
    }
  }
}
