import { once } from 'node:events'
import type { Context } from './context.ts'
import { exit } from './exit.ts'

/** Waits for SIGINT or SIGTERM; a further one ends the process at once, for whoever will not wait for the draining. */
export async function untilSignal(context: Context): Promise<void> {
  const { signals } = context
  const done = new AbortController()
  await Promise.race([
    once(signals, 'SIGINT', { signal: done.signal }),
    once(signals, 'SIGTERM', { signal: done.signal }),
  ]).finally(() => done.abort())
  for (const name of ['SIGINT', 'SIGTERM']) signals.once(name, () => context.endNow(exit.failure))
}

/** Fires on the first SIGINT or SIGTERM until disposed: for a start that somebody gives up. */
export class GivingUp implements Disposable {
  readonly #controller = new AbortController()
  readonly #signals: Context['signals']
  readonly #onSignal = (): void => this.#controller.abort()

  constructor({ signals }: Context) {
    this.#signals = signals
    signals.on('SIGINT', this.#onSignal)
    signals.on('SIGTERM', this.#onSignal)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  [Symbol.dispose](): void {
    this.#signals.off('SIGINT', this.#onSignal)
    this.#signals.off('SIGTERM', this.#onSignal)
  }
}
