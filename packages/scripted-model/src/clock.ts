import { setTimeout as wait } from 'node:timers/promises'

export interface Clock {
  now(): Date
  /** Nanoseconds of a clock that never goes back and is the same for all processes of the machine. */
  monotonic(): bigint
  /** Rejects when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => new Date(),
  monotonic: () => process.hrtime.bigint(),
  sleep: (ms, signal) => wait(ms, undefined, { signal }),
}
