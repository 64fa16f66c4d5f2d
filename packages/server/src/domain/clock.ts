/** The time of day, injected: nothing else asks the system for it. */
export interface Clock {
  now(): Date
}

export const systemClock: Clock = { now: () => new Date() }
