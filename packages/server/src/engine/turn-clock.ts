/** Watches the limits that only time can reach: how long a turn takes, and how long it is silent. */
import type { Limits } from '@berth/protocol/api/limits'

type TimeLimit = Extract<keyof Limits, 'turn_seconds' | 'idle_seconds'>

/** Node cannot wait longer in one go. */
const LONGEST_MS = 2 ** 31 - 1

export interface TurnTimes {
  /** Null: the session does not work. */
  readonly activeSince: string | null
  readonly limits: Limits
}

export class TurnClock implements Disposable {
  readonly #onReached: () => void
  #reached: TimeLimit | undefined
  readonly #timers = new Map<TimeLimit, NodeJS.Timeout>()
  #activeSince: string | null = null

  constructor(onReached: () => void) {
    this.#onReached = onReached
  }

  /** The limit that the present turn has reached, until `settle`. One that was silent for too long, and then was heard of, has not reached it. */
  get reached(): TimeLimit | undefined {
    return this.#reached
  }

  /** What follows from the limit is done. */
  settle(): void {
    this.#reached = undefined
  }

  /** After every step of the session: it has just shown a sign of life. `nowMs` is the time of day. */
  update({ activeSince, limits }: TurnTimes, nowMs: number): void {
    this.#end('idle_seconds')
    if (activeSince !== this.#activeSince) this.#end('turn_seconds')
    this.#activeSince = activeSince
    if (activeSince === null) return
    if (limits.idle_seconds !== null) this.#start('idle_seconds', limits.idle_seconds * 1_000)
    if (limits.turn_seconds !== null && !this.#timers.has('turn_seconds')) {
      const whole = limits.turn_seconds * 1_000
      // The time of day may have been set back since.
      this.#start('turn_seconds', Math.min(whole, Date.parse(activeSince) + whole - nowMs))
    }
  }

  [Symbol.dispose](): void {
    this.#stop('idle_seconds')
    this.#stop('turn_seconds')
  }

  #start(limit: TimeLimit, ms: number): void {
    const reach = (): void => {
      this.#reached = limit
      this.#onReached()
    }
    const timer = setTimeout(reach, Math.min(Math.max(ms, 0), LONGEST_MS))
    timer.unref()
    this.#timers.set(limit, timer)
  }

  #end(limit: TimeLimit): void {
    this.#stop(limit)
    if (this.#reached === limit) this.#reached = undefined
  }

  #stop(limit: TimeLimit): void {
    clearTimeout(this.#timers.get(limit))
    this.#timers.delete(limit)
  }
}
