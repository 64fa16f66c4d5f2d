import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import type { Target } from './policy.ts'
import { EgressRefusal } from './refusal.ts'

export interface PassageLimits {
  /** Requests and tunnels of one session at once. */
  readonly passages: number
  /** Without a byte in either direction. */
  readonly idleMs: number
  /** However busy it is. */
  readonly lifeMs: number
  /** From the beginning of a tunnel until it is known what is spoken in it. */
  readonly helloMs: number
  /** Of one request's body. */
  readonly bodyBytes: number
}

export const defaultLimits: PassageLimits = {
  passages: 128,
  idleMs: 600_000,
  lifeMs: 86_400_000,
  helloMs: 10_000,
  bodyBytes: 1024 * 1024 * 1024,
}

/** Made once: without a reason, each abort would make one with a stack. */
const OVER = new Error('the passage is over')

/** One request or tunnel under way. */
export interface Passage extends Disposable {
  readonly signal: AbortSignal
  /** Where it leads, once that is known. */
  target: Target | undefined
}

/** What of one session is under way: counted, and cut when it has to end. */
export class Passages {
  readonly #limits: PassageLimits
  readonly #open = new Map<Passage, AbortController>()
  #idle = Promise.withResolvers<void>()

  constructor(limits: PassageLimits) {
    this.#limits = limits
  }

  /** Disposed, it has ended; its signal is aborted by then. Throws a 503 when there are too many. */
  begin(): Passage {
    if (this.#open.size >= this.#limits.passages) {
      throw new EgressRefusal(503, 'limit', `more than ${this.#limits.passages} connections at once`)
    }
    const cut = new AbortController()
    const life = setTimeout(() => cut.abort(), this.#limits.lifeMs)
    const passage: Passage = {
      signal: cut.signal,
      target: undefined,
      [Symbol.dispose]: () => {
        clearTimeout(life)
        cut.abort(OVER)
        this.#open.delete(passage)
        if (this.#open.size === 0) {
          this.#idle.resolve()
          this.#idle = Promise.withResolvers()
        }
      },
    }
    this.#open.set(passage, cut)
    return passage
  }

  /** Cuts those that lead somewhere else. */
  cutAllBut(isAllowed: (target: Target) => boolean): void {
    for (const [{ target }, cut] of this.#open) if (target !== undefined && !isAllowed(target)) cut.abort()
  }

  /** Resolves when there is none; when `signal` is aborted, cuts them. */
  async drain(signal: AbortSignal): Promise<void> {
    const cut = (): void => {
      for (const each of this.#open.values()) each.abort()
    }
    if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    if (this.#open.size > 0) await this.#idle.promise
    signal.removeEventListener('abort', cut)
  }
}

/** Bytes go both ways until both ends have closed, one has failed, nothing was said for `idleMs`, or the signal is aborted. */
export async function join(one: Duplex, other: Duplex, given: { signal: AbortSignal; idleMs: number }): Promise<void> {
  const { signal, idleMs } = given
  const cut = (): void => {
    one.destroy()
    other.destroy()
  }
  const idle = setTimeout(cut, idleMs)
  const heard = (): void => void idle.refresh()
  for (const end of [one, other]) end.on('error', cut).on('data', heard)
  if (signal.aborted) cut()
  signal.addEventListener('abort', cut, { once: true })
  const closed = [one, other].filter((end) => !end.closed).map((end) => once(end, 'close').catch(() => undefined))
  one.once('close', () => other.end())
  other.once('close', () => one.end())
  one.pipe(other)
  other.pipe(one)
  await Promise.all(closed)
  clearTimeout(idle)
  signal.removeEventListener('abort', cut)
}
