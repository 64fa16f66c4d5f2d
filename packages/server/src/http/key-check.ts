/**
 * Whether a key is good. Whoever tries many that are not is held up, by the address that they come from, and a good key passes all the same: a proxy
 * in front of the server makes all clients one address.
 */
import { BerthError } from '@berth/protocol'
import type { Clock } from '../domain/clock.ts'
import { endOfKey, hashKey, isSameHash } from '../domain/key.ts'
import type { StoredKey } from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import { FailedAttempts } from './failed-attempts.ts'

const MAX_GOOD = 10_000
/** How often all good keys are asked for, at most: a key that was made since then is nobody's for a source that is held up. */
const ASK_MS = 5_000

interface KeyCheckDeps {
  readonly store: Pick<Store, 'findKeyByHash' | 'listKeyHashes'>
  readonly clock: Clock
}

/** A key that is good, or what is wrong with it, to be said after "the API key"; `isKnown`: it was good once. */
export type Found = { readonly stored: StoredKey } | { readonly fault: string; readonly isKnown: boolean }

export class KeyCheck {
  readonly #deps: KeyCheckDeps
  readonly #failed: FailedAttempts
  /** Hashes of keys that were good when they were last looked at; they are looked at again with every request. */
  readonly #good = new Set<string>()
  #askedAt = -Infinity
  #asking: Promise<void> | undefined

  constructor(deps: KeyCheckDeps) {
    this.#deps = deps
    this.#failed = new FailedAttempts(deps.clock)
  }

  /** Throws `rate_limited`, without looking, after too many that were wrong. */
  async find(key: string, source: string): Promise<Found> {
    const isAttempt = !(await this.#passes(hashKey(key), source))
    const found = await this.look(key)
    if ('stored' in found && isAttempt) this.#failed.giveBack(source)
    return found
  }

  /** For what may be somebody else's: as often as one likes. */
  async look(key: string): Promise<Found> {
    const { store, clock } = this.#deps
    const hash = hashKey(key)
    const stored = await store.findKeyByHash({ hash })
    if (stored === undefined || !isSameHash(stored.hash, hash)) {
      this.#good.delete(hash)
      return { fault: 'is not known', isKnown: false }
    }
    const fault = endOfKey(stored, clock.now())
    if (fault === undefined) this.#keep(hash)
    else this.#good.delete(hash)
    return fault === undefined ? { stored } : { fault, isKnown: true }
  }

  /** False: it was taken for an attempt. */
  async #passes(hash: string, source: string): Promise<boolean> {
    if (this.#good.has(hash)) return true
    const late = this.#failed.take(source)
    if (late === undefined) return false
    await this.#askAll()
    if (this.#good.has(hash)) return true
    const message = 'too many API keys from this address were not good; a good one passes'
    throw new BerthError('rate_limited', message, { retryAfterMs: late.waitMs })
  }

  async #askAll(): Promise<void> {
    const now = this.#deps.clock.now().getTime()
    if (Math.abs(now - this.#askedAt) >= ASK_MS) {
      this.#askedAt = now
      this.#asking = this.#ask(now).finally(() => (this.#asking = undefined))
    }
    await this.#asking
  }

  async #ask(now: number): Promise<void> {
    const hashes = await this.#deps.store.listKeyHashes({ now: new Date(now).toISOString(), limit: MAX_GOOD })
    this.#good.clear()
    for (const hash of hashes) this.#good.add(hash)
  }

  #keep(hash: string): void {
    if (this.#good.has(hash)) return
    const [oldest] = this.#good
    if (this.#good.size >= MAX_GOOD && oldest !== undefined) this.#good.delete(oldest)
    this.#good.add(hash)
  }
}
