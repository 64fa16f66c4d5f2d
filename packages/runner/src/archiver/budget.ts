import type { ArchiveLimits } from '@berth/protocol/archive'
import { ArchiveFailure } from './failure.ts'

/** How much a job may still take. Each throws what is over, naming the path. */
export class Budget {
  readonly limits: ArchiveLimits
  readonly #now: () => number
  readonly #until: number
  entries = 0
  bytes = 0

  /** `now`: milliseconds. */
  constructor(limits: ArchiveLimits, now: () => number) {
    this.limits = limits
    this.#now = now
    this.#until = now() + limits.seconds * 1000
  }

  entry(path: () => string, depth: number): void {
    this.entries++
    if (this.entries > this.limits.entries) throw this.#over('entries', `${this.limits.entries}`, path)
    if (depth > this.limits.depth) throw this.#over('depth', `${this.limits.depth} directories`, path)
    if (this.entries % 64 === 0) this.time(path)
  }

  size(path: () => string, bytes: number): void {
    this.fits(path, bytes)
    this.bytes += bytes
  }

  /** Takes nothing yet. */
  fits(path: () => string, bytes: number): void {
    if (this.bytes + bytes > this.limits.bytes) throw this.#over('bytes', `${this.limits.bytes} in all files`, path)
  }

  time(path: () => string): void {
    if (this.#now() > this.#until) throw this.#over('seconds', `${this.limits.seconds}`, path)
  }

  #over(limit: keyof ArchiveLimits, what: string, path: () => string): ArchiveFailure {
    return new ArchiveFailure('limit', `the limit of ${limit} (${what}) is reached at ${path()}`)
  }
}
