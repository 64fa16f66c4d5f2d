import type { Clock } from '../domain/clock.ts'

/** How many attempts a source has, as long as it has made none lately. */
const BURST = 10
/** After this long it has one more. */
const REFILL_MS = 6_000
const FULL = BURST * REFILL_MS
const MAX_SOURCES = 10_000

interface Bucket {
  /** Milliseconds: an attempt costs `REFILL_MS`. */
  credit: number
  /** Since when it is so much. */
  at: number
}

/** Attempts that may fail, by source: a bucket of tokens each. The sources that have tried last are known, others begin anew. */
export class FailedAttempts {
  readonly #clock: Clock
  /** In the order of their last attempts. */
  readonly #buckets = new Map<string, Bucket>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get sources(): number {
    return this.#buckets.size
  }

  /** Takes one. Where there is none, says after how many milliseconds there is. */
  take(source: string): { readonly waitMs: number } | undefined {
    const bucket = this.#filled(source)
    if (bucket.credit < REFILL_MS) return { waitMs: REFILL_MS - bucket.credit }
    bucket.credit -= REFILL_MS
    return undefined
  }

  /** For an attempt that has not failed. */
  giveBack(source: string): void {
    const bucket = this.#filled(source)
    bucket.credit = Math.min(FULL, bucket.credit + REFILL_MS)
  }

  #filled(source: string): Bucket {
    const now = this.#clock.now().getTime()
    const { credit, at } = this.#buckets.get(source) ?? { credit: FULL, at: now }
    // The time of day may go back.
    const bucket = { credit: Math.min(FULL, credit + Math.max(0, now - at)), at: now }
    this.#buckets.delete(source)
    this.#buckets.set(source, bucket)
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > MAX_SOURCES && oldest !== undefined) this.#buckets.delete(oldest)
    return bucket
  }
}
