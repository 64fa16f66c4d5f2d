/** One session at rest: when a step with its sandbox is due, and its taking. What comes for the session meanwhile interrupts it. */
import type { RestStep } from '../domain/lifecycle.ts'
import type { Committed, SessionRow } from '../store/session-log.ts'
import type { ActorDeps } from './deps.ts'
import { RestClock } from './rest-clock.ts'
import type { Rests } from './rests.ts'
import type { SandboxHost } from './sandbox-host.ts'

export interface SessionRestOptions {
  readonly sessionId: string
  readonly deps: ActorDeps & { readonly rests: Rests }
  readonly findHost: (sandboxId: string) => SandboxHost | undefined
  readonly publish: (committed: Committed) => void
  /** A step is due. */
  readonly onDue: () => void
}

export class SessionRest implements Disposable {
  readonly #options: SessionRestOptions
  readonly #clock: RestClock
  #due: RestStep | undefined
  #step = new AbortController()
  #hasSandbox = true

  constructor(options: SessionRestOptions) {
    this.#options = options
    this.#clock = new RestClock((step) => {
      this.#due = step
      options.onDue()
    })
  }

  get isDue(): boolean {
    return this.#due !== undefined
  }

  /** As far as was seen. */
  get hasSandbox(): boolean {
    return this.#hasSandbox
  }

  watch(row: SessionRow, notBeforeMs = 0): void {
    this.#hasSandbox = row.sandbox_id !== null
    this.#clock.update(row, this.#options.deps.clock.now().getTime(), notBeforeMs)
  }

  interrupt(): void {
    this.#step.abort()
  }

  /** Nothing when no step is due, or the session rests no more. */
  async takeStep(stopping: AbortSignal): Promise<void> {
    const { sessionId, deps, findHost, publish } = this.#options
    const step = this.#due
    this.#due = undefined
    const interruption = new AbortController()
    this.#step = interruption
    const row = await deps.store.findSession({ sessionId })
    const host = row === undefined || row.sandbox_id === null ? undefined : findHost(row.sandbox_id)
    if (step === undefined || row === undefined || row.status !== 'idle' || host === undefined) return
    const signal = AbortSignal.any([interruption.signal, stopping])
    try {
      const againMs = await deps.rests.take(step, { row, host, signal, publish })
      const after = await deps.store.findSession({ sessionId })
      if (after !== undefined) this.watch(after, againMs)
    } catch (error) {
      if (!interruption.signal.aborted) throw error
    }
  }

  [Symbol.dispose](): void {
    this.interrupt()
    this.#clock[Symbol.dispose]()
  }
}
