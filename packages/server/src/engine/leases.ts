/**
 * This server's leases: the right to act for the sessions of a group, taken when one of them has work, renewed while this server lives, gone when it
 * does not. Under every write stands the lease's epoch; the store refuses one that has passed to another server.
 */
import { BerthError, isBerthError } from '@berth/protocol'
import type { EngineDeps } from './deps.ts'

const LEASE_MS = 15_000
const RENEW_EVERY_MS = 5_000

export class Leases implements AsyncDisposable {
  readonly #deps: EngineDeps
  readonly #lost: (groupId: string) => void
  readonly #holder: string
  /** Of sessions that were asked for: a session's group never changes. */
  readonly #groups = new Map<string, string>()
  readonly #epochs = new Map<string, Promise<number>>()
  readonly #timer: NodeJS.Timeout
  #renewing: Promise<void> = Promise.resolve()

  /** `lost` is called when the lease of a group is no longer the one under which this server has acted. */
  constructor(deps: EngineDeps, lost: (groupId: string) => void) {
    this.#deps = deps
    this.#lost = lost
    this.#holder = `server-${deps.serverNumber}`
    this.#timer = setInterval(() => {
      this.#renewing = this.#renew()
    }, RENEW_EVERY_MS)
  }

  /** The epoch under which to act for the session. Throws `conflict` while another server holds the lease. */
  async epoch(sessionId: string): Promise<number> {
    return this.epochOf(await this.#groupOf(sessionId))
  }

  /** The same, for a group. */
  epochOf(groupId: string): Promise<number> {
    const known = this.#epochs.get(groupId)
    if (known !== undefined) return known
    const taken = this.#take(groupId)
    this.#epochs.set(groupId, taken)
    taken.catch(() => {
      if (this.#epochs.get(groupId) === taken) this.#epochs.delete(groupId)
    })
    return taken
  }

  /** undefined: all of its sessions were deleted, and what they had is nobody's. */
  async epochUnlessDeleted(groupId: string): Promise<number | undefined> {
    try {
      return await this.epochOf(groupId)
    } catch (error) {
      if (isBerthError(error, 'not_found')) return undefined
      throw error
    }
  }

  /** Somebody has refused this server's epoch, or something else was amiss: where the lease has passed to another, it is lost here. */
  async check(sessionId: string): Promise<void> {
    const groupId = await this.#groupOf(sessionId).catch(() => undefined)
    if (groupId !== undefined) await this.checkGroup(groupId)
  }

  /** The same, for a group. */
  async checkGroup(groupId: string): Promise<void> {
    const before = await this.#epochs.get(groupId)?.catch(() => undefined)
    this.#epochs.delete(groupId)
    const after = await this.epochOf(groupId).catch(() => undefined)
    if (before !== undefined && after !== before) this.#lost(groupId)
  }

  /** The session is over. The lease of its group stays, where others act under it. */
  forget(sessionId: string): void {
    const groupId = this.#groups.get(sessionId)
    this.#groups.delete(sessionId)
    const isUsed = [...this.#groups.values()].some((other) => other === groupId)
    if (groupId !== undefined && !isUsed) this.#epochs.delete(groupId)
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

  async #groupOf(sessionId: string): Promise<string> {
    const known = this.#groups.get(sessionId)
    if (known !== undefined) return known
    const row = await this.#deps.store.findSession({ sessionId })
    if (row === undefined) throw new BerthError('not_found', `no session ${sessionId}`)
    this.#groups.set(sessionId, row.group_id)
    return row.group_id
  }

  async #take(groupId: string): Promise<number> {
    const now = this.#deps.clock.now()
    const until = new Date(now.getTime() + LEASE_MS).toISOString()
    const args = { groupId, holder: this.#holder, until, now: now.toISOString() }
    const epoch = await this.#deps.store.takeLease(args)
    if (epoch === undefined) throw new BerthError('conflict', `another server acts for the sessions of ${groupId}`)
    return epoch
  }

  async #renew(): Promise<void> {
    const { store, clock, logger } = this.#deps
    try {
      const until = new Date(clock.now().getTime() + LEASE_MS).toISOString()
      const before = [...this.#epochs.keys()]
      const mine = new Set(await store.renewLeases({ holder: this.#holder, until }))
      await Promise.all(before.filter((groupId) => !mine.has(groupId)).map((groupId) => this.checkGroup(groupId)))
    } catch (error) {
      logger.error({ err: error }, 'leases could not be renewed')
    }
  }
}
