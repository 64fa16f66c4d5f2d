/** Ends what is open on behalf of a key when the key comes to its end: an answer that streams for days was admitted once, at its start. */
import type { Logger } from 'pino'
import type { Clock } from '../domain/clock.ts'
import type { Store } from '../store/store.ts'

/** The store is asked rather than told by whoever revokes: keys end by the clock too, and by the hand of another server. */
const ROUND_MS = 2_000
const MAX_ASKED = 500

interface KeyWatchDeps {
  readonly store: Pick<Store, 'findEndedKeys'>
  readonly clock: Clock
  readonly logger: Logger
}

export class KeyWatch implements Disposable {
  readonly #deps: KeyWatchDeps
  readonly #watched = new Map<string, Set<() => void>>()
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(deps: KeyWatchDeps) {
    this.#deps = deps
  }

  /** Calls `end`, once, within some 2 seconds of the key's end, unless what it answers is disposed before. */
  watch(keyId: string, end: () => void): Disposable {
    const ends = this.#watched.get(keyId) ?? new Set()
    this.#watched.set(keyId, ends.add(end))
    this.#next()
    return {
      [Symbol.dispose]: () => {
        ends.delete(end)
        if (ends.size === 0 && this.#watched.get(keyId) === ends) this.#watched.delete(keyId)
      },
    }
  }

  [Symbol.dispose](): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #next(): void {
    if (this.#isStopped || this.#timer !== undefined || this.#watched.size === 0) return
    this.#timer = setTimeout(() => {
      this.#round()
        .catch((error: unknown) => this.#deps.logger.warn({ err: error }, 'keys of open streams were not looked at'))
        .finally(() => {
          this.#timer = undefined
          this.#next()
        })
    }, ROUND_MS)
  }

  async #round(): Promise<void> {
    const ids = [...this.#watched.keys()]
    for (let at = 0; at < ids.length && !this.#isStopped; at += MAX_ASKED) {
      const now = this.#deps.clock.now().toISOString()
      const ended = await this.#deps.store.findEndedKeys({ ids: ids.slice(at, at + MAX_ASKED), now })
      for (const id of ended) this.#end(id)
    }
  }

  #end(keyId: string): void {
    const ends = this.#watched.get(keyId) ?? []
    this.#watched.delete(keyId)
    for (const end of ends) end()
  }
}
