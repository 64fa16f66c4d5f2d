import { once } from 'node:events'
import type { Context } from './context.ts'
import { exit } from './exit.ts'

/**
 * SIGINT and SIGTERM of a command that serves, from its beginning to its end without a gap: the first one asks it to stop, and gives
 * up a start that is under way; one that comes while it drains ends the process at once.
 */
export class Stopping implements Disposable {
  readonly #controller = new AbortController()
  readonly #context: Context
  readonly #onSignal = (): void => {
    if (this.#draining) this.#context.endNow(exit.failure)
    this.#controller.abort()
  }
  #draining = false

  constructor(context: Context) {
    this.#context = context
    context.signals.on('SIGINT', this.#onSignal)
    context.signals.on('SIGTERM', this.#onSignal)
  }

  /** Fires with the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Resolves with the first signal. */
  async requested(): Promise<void> {
    if (!this.signal.aborted) await once(this.signal, 'abort')
  }

  /** From now on nobody has to wait. */
  drain(): void {
    this.#draining = true
  }

  [Symbol.dispose](): void {
    this.#context.signals.off('SIGINT', this.#onSignal)
    this.#context.signals.off('SIGTERM', this.#onSignal)
  }
}
