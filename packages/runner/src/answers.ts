/** Answers that came before their question are kept up to this number; then the oldest is dropped. */
const MAX_EARLY = 1_000

/** Where answers from outside meet those who wait for them, by id, whichever comes first. */
export class Answers<T> {
  readonly #early = new Map<string, T>()
  readonly #waiting = new Map<string, (answer: T) => void>()

  /** Gives an answer. The first one counts while it has not been taken. */
  give(id: string, answer: T): void {
    const waiting = this.#waiting.get(id)
    if (waiting !== undefined) {
      waiting(answer)
      return
    }
    if (this.#early.has(id)) return
    const [oldest] = this.#early.keys()
    if (this.#early.size >= MAX_EARLY && oldest !== undefined) this.#early.delete(oldest)
    this.#early.set(id, answer)
  }

  /** Waits for the answer and removes it. Rejects with the signal's reason. */
  async take(id: string, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    const early = this.#early.get(id)
    if (early !== undefined) {
      this.#early.delete(id)
      return early
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const abort = () => reject(signal.reason)
    this.#waiting.set(id, resolve)
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await promise
    } finally {
      this.#waiting.delete(id)
      signal.removeEventListener('abort', abort)
    }
  }
}
