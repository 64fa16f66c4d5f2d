/** How much sessions send and receive, counted as it goes, and how much they may send. */
import type { EgressTraffic } from '@berth/protocol/gateway'
import type { Logger } from '../logger.ts'
import type { Audit } from './audit.ts'
import { isNothing, TrafficAccount } from './traffic-account.ts'

/** How often what was counted is put on record. */
const SAVE_MS = 1000

export interface TrafficParts {
  readonly record: Pick<Audit, 'addTraffic' | 'findTraffic'>
  /** Bytes that a session may send, in all its time. Undefined: any number. */
  readonly limit: number | undefined
  readonly logger: Logger
}

/** The accounts of all sessions. What is counted is on record within a second, or 4 MiB. */
export class Traffic implements AsyncDisposable {
  readonly #parts: TrafficParts
  readonly #accounts = new Map<string, TrafficAccount>()
  /** Those that have connections, or something that is not on record. */
  readonly #busy = new Set<TrafficAccount>()
  #timer: NodeJS.Timeout | undefined
  #saving: Promise<void> | undefined

  constructor(parts: TrafficParts) {
    this.#parts = parts
  }

  /** One and the same for all ways out of a session. */
  account(sessionId: string): TrafficAccount {
    const known = this.#accounts.get(sessionId)
    if (known !== undefined) return known
    const { record, limit } = this.#parts
    const account = new TrafficAccount(sessionId, {
      limit,
      find: () => record.findTraffic(sessionId),
      used: (used) => this.#use(used),
      save: () => this.save(),
    })
    this.#accounts.set(sessionId, account)
    return account
  }

  /** Up to this moment. Zeros for a session that it never saw. */
  async total(sessionId: string): Promise<EgressTraffic> {
    const account = this.#accounts.get(sessionId)
    return account === undefined ? await this.#parts.record.findTraffic(sessionId) : await account.total()
  }

  /** For a session without a way out; when it has one again, its account goes on from what is on record. */
  async forget(sessionId: string): Promise<void> {
    if (!this.#accounts.has(sessionId)) return
    await this.save()
    this.#accounts.delete(sessionId)
  }

  /** Resolves when everything that was counted before is on record. */
  async save(): Promise<void> {
    // Who comes while others are being written waits for them, and then for the next round, which all who wait share.
    await this.#saving?.catch(() => undefined)
    this.#saving ??= this.#save().finally(() => (this.#saving = undefined))
    await this.#saving
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer)
    await this.#round()
    clearTimeout(this.#timer)
  }

  async #save(): Promise<void> {
    const counted = [...this.#busy].map((account) => ({ account, row: account.unsaved() }))
    const rows = counted.flatMap(({ account, row }) =>
      isNothing(row) ? [] : [{ session_id: account.sessionId, ...row }],
    )
    if (rows.length > 0) await this.#parts.record.addTraffic(rows)
    for (const { account, row } of counted) {
      account.saved(row)
      if (account.isIdle) this.#busy.delete(account)
    }
  }

  #use(account: TrafficAccount): void {
    this.#busy.add(account)
    this.#timer ??= setTimeout(() => void this.#round(), SAVE_MS).unref()
  }

  async #round(): Promise<void> {
    try {
      await this.save()
    } catch (error) {
      this.#parts.logger.warn({ err: error }, 'what sessions have sent could not be put on record')
    }
    this.#timer = undefined
    const [next] = this.#busy
    if (next !== undefined) this.#use(next)
  }
}
