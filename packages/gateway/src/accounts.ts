/**
 * Limits on what model requests cost. A request reserves the most that it can cost before it starts, and settles what it did cost when it
 * ends. One may start while what was spent and what is reserved are together below the limit; one that is kept back by others under way
 * waits for them; one behind a limit that is reached is refused. So a limit is overrun by one request at most, however many come at once.
 */
import type { SessionBudget, Stopped } from '@berth/protocol/gateway'
import { highestCostOf, runningCostOf } from '@berth/protocol/list-cost'
import { pricesOf } from '@berth/protocol/prices'
import type { Ledger } from './ledger.ts'
import type { Metering } from './metering.ts'
import { Refusal } from './refusal.ts'

export interface AccountsParts {
  readonly ledger: Pick<Ledger, 'spentBy' | 'spentOn'>
  readonly metering: Metering
  readonly now: () => Date
}

export interface Payer {
  readonly sessionId: string
  readonly workspaceId: string
  /** As it is when it is looked at: it may be raised while a request waits. */
  readonly budget: () => SessionBudget | null
}

export interface Asking {
  /** Models that may answer; null: any. */
  readonly models: readonly string[] | null
  readonly promptTokens: number
  readonly maxTokens: number
  readonly signal: AbortSignal
}

/** What a request holds back until it has ended. Disposed without having been settled, it cost nothing. */
export interface Reservation extends Disposable {
  /** Only the first call counts. Null: it cost something that has no price. */
  settle(cost: number | null): void
}

/** A limit and what has been spent of it. */
interface Limit {
  readonly reason: Stopped
  readonly account: Account
  readonly isReached: () => boolean
  readonly isCrowded: () => boolean
}

export class Accounts {
  readonly #parts: AccountsParts
  readonly #accounts = new Map<string, Promise<Account>>()
  /** Sessions whose newest request was refused. */
  readonly #refused = new Map<string, Stopped>()

  /** Of what costs nothing. */
  readonly free = nothing

  constructor(parts: AccountsParts) {
    this.#parts = parts
  }

  /** Resolves when the request may start. Throws a `Refusal` that is final when a limit is reached. */
  async reserve(payer: Payer, asking: Asking): Promise<Reservation> {
    const limits = await this.#limitsOf(payer)
    if (limits.length === 0) return nothing
    const bound = this.#boundOf(asking)
    for (;;) {
      const reason = bound === undefined ? 'unpriced_model' : reachedOf(limits)
      if (reason !== null) {
        this.#refused.set(payer.sessionId, reason)
        throw refusalFor(reason)
      }
      const crowded = limits.find((limit) => limit.isCrowded())
      if (crowded === undefined) break
      await crowded.account.changed(asking.signal)
    }
    this.#refused.delete(payer.sessionId)
    return reserveIn(
      limits.map(({ account }) => account),
      bound ?? 0,
    )
  }

  /** Why the session's newest request was refused, or its next one would be. */
  async stoppedOf(payer: Payer): Promise<Stopped | null> {
    return this.#refused.get(payer.sessionId) ?? reachedOf(await this.#limitsOf(payer))
  }

  /** The session's budget has changed: what waits is looked at anew. */
  async wake(sessionId: string): Promise<void> {
    ;(await this.#accounts.get(sessionId))?.wake()
  }

  /** The session has no way to the model any more. */
  async forget(sessionId: string): Promise<void> {
    if ((await this.#accounts.get(sessionId))?.reserved === 0) this.#accounts.delete(sessionId)
  }

  async #limitsOf(payer: Payer): Promise<Limit[]> {
    const { dailyLimit } = this.#parts.metering
    const limits: Limit[] = []
    if (payer.budget() !== null) {
      const { sessionId } = payer
      const account = await this.#account(sessionId, () => this.#parts.ledger.spentBy(sessionId))
      limits.push(this.#sessionLimit(account, payer))
    }
    if (dailyLimit !== undefined) limits.push(toLimit('workspace_limit', await this.#today(payer), () => dailyLimit))
    return limits
  }

  #sessionLimit(account: Account, { budget }: Payer): Limit {
    const { metering, now } = this.#parts
    const left = (): number => {
      const given = budget()
      if (given === null) return Infinity
      const since = given.active_since === null ? 0 : Math.max(0, now().getTime() - Date.parse(given.active_since))
      return given.max_list_cost - runningCostOf(metering.prices, given.active_ms + since)
    }
    const limit = toLimit('budget', account, left)
    // What has no price cannot be measured: only a session without a budget goes on.
    if (account.unpriced > 0 && budget() !== null) return { ...limit, reason: 'unpriced_model', isReached: () => true }
    return limit
  }

  async #today({ workspaceId }: Payer): Promise<Account> {
    const day = this.#parts.now().toISOString().slice(0, 10)
    for (const [key, account] of this.#accounts) {
      if (key.startsWith(`${workspaceId} `) && !key.endsWith(day) && (await account).reserved === 0) {
        this.#accounts.delete(key)
      }
    }
    return this.#account(`${workspaceId} ${day}`, () => this.#parts.ledger.spentOn(workspaceId, day))
  }

  #account(key: string, read: () => Promise<{ list_cost: number; unpriced_requests: number }>): Promise<Account> {
    const known = this.#accounts.get(key)
    if (known !== undefined) return known
    const account = read().then(({ list_cost, unpriced_requests }) => new Account(list_cost, unpriced_requests))
    this.#accounts.set(key, account)
    // Read again by the next request.
    account.catch(() => this.#accounts.delete(key))
    return account
  }

  #boundOf({ models, promptTokens, maxTokens }: Asking): number | undefined {
    const table = this.#parts.metering.prices
    const bounds = (models ?? Object.keys(table.models)).map((model) => {
      const prices = pricesOf(table, model)
      return prices === undefined ? undefined : highestCostOf(prices, { promptTokens, maxTokens })
    })
    return bounds.reduce<number | undefined>(
      (dearest, bound) => (dearest === undefined || bound === undefined ? undefined : Math.max(dearest, bound)),
      0,
    )
  }
}

class Account {
  spent: number
  unpriced: number
  reserved = 0
  #change = Promise.withResolvers<void>()

  constructor(spent: number, unpriced: number) {
    this.spent = spent
    this.unpriced = unpriced
  }

  /** Resolves with the next change. Rejects when the signal is aborted. */
  async changed(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const aborted = Promise.withResolvers<never>()
    const abort = () => aborted.reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    try {
      await Promise.race([this.#change.promise, aborted.promise])
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  wake(): void {
    this.#change.resolve()
    this.#change = Promise.withResolvers()
  }
}

const nothing: Reservation = { settle: () => undefined, [Symbol.dispose]: () => undefined }

function reserveIn(accounts: readonly Account[], bound: number): Reservation {
  for (const account of accounts) account.reserved += bound
  let isSettled = false
  const settle = (cost: number | null): void => {
    if (isSettled) return
    isSettled = true
    for (const account of accounts) {
      account.reserved -= bound
      account.spent += cost ?? 0
      account.unpriced += cost === null ? 1 : 0
      account.wake()
    }
  }
  return { settle, [Symbol.dispose]: () => settle(0) }
}

function toLimit(reason: Stopped, account: Account, left: () => number): Limit {
  return {
    reason,
    account,
    isReached: () => account.spent >= left(),
    isCrowded: () => account.reserved > 0 && account.spent + account.reserved >= left(),
  }
}

function reachedOf(limits: readonly Limit[]): Stopped | null {
  return limits.find((limit) => limit.isReached())?.reason ?? null
}

const texts: Readonly<Record<Stopped, string>> = {
  budget: 'This session has reached its budget. It goes on when the budget is raised or removed.',
  workspace_limit:
    'This workspace has reached its limit for today. The session goes on when that is raised, or tomorrow (UTC).',
  unpriced_model: 'The model has no list price, so that no budget can be kept. The session goes on without a budget.',
}

function refusalFor(reason: Stopped): Refusal {
  return new Refusal(402, texts[reason], { type: 'billing_error', retry: false })
}
