import type { EventEmitter } from 'node:events'

/** Ctrl-C: the first one calls `onFirst`, the second leaves. SIGTERM leaves at once. Listens until disposed. */
export class Interrupts implements Disposable {
  readonly #signals: EventEmitter
  readonly #leaving = new AbortController()
  readonly #onFirst: () => void
  readonly #onSigint = (): void => this.interrupt()
  readonly #onSigterm = (): void => this.#leaving.abort()
  #interrupted = false

  constructor(signals: EventEmitter, onFirst: () => void) {
    this.#signals = signals
    this.#onFirst = onFirst
    signals.on('SIGINT', this.#onSigint)
    signals.on('SIGTERM', this.#onSigterm)
  }

  get interrupted(): boolean {
    return this.#interrupted
  }

  /** Fires when the user leaves. */
  get leaving(): AbortSignal {
    return this.#leaving.signal
  }

  interrupt(): void {
    if (this.#interrupted) return this.#leaving.abort()
    this.#interrupted = true
    this.#onFirst()
  }

  [Symbol.dispose](): void {
    this.#signals.off('SIGINT', this.#onSigint)
    this.#signals.off('SIGTERM', this.#onSigterm)
  }
}
