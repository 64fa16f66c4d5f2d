/** Watches how long a session rests, and says when the next step with its sandbox is due. */
import { environmentConfig } from '@berth/protocol/api/environment'
import { stopReasonOf } from '../domain/session.ts'
import { nextRestStep, type RestStep } from '../domain/lifecycle.ts'
import type { SessionRow } from '../store/session-log.ts'

/** Node cannot wait longer in one go. */
const LONGEST_MS = 2 ** 31 - 1

export class RestClock implements Disposable {
  readonly #due: (step: RestStep) => void
  #timer: NodeJS.Timeout | undefined

  constructor(due: (step: RestStep) => void) {
    this.#due = due
  }

  /** After every change of the session. `nowMs` is the time of day; nothing is due for `notBeforeMs` from now. */
  update(row: SessionRow, nowMs: number, notBeforeMs = 0): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (row.idle_since === null || row.sandbox_id === null || row.status !== 'idle') return
    const next = nextRestStep({
      lifecycle: environmentConfig.parse(JSON.parse(row.environment)).berth.lifecycle,
      stopReason: stopReasonOf(row),
      isChanged: row.is_changed === 1,
    })
    if (next === undefined) return
    // The time of day may have been set back since.
    const rest = Math.min(next.afterMs, Date.parse(row.idle_since) + next.afterMs - nowMs)
    this.#timer = setTimeout(() => this.#due(next.step), Math.min(Math.max(rest, notBeforeMs, 0), LONGEST_MS))
    this.#timer.unref()
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
  }
}
