/** How many attempts a file of attacks has made, and how many of them were held. */
import { expect } from 'vitest'

export class Tally {
  readonly #what: string
  #tried = 0
  #held = 0

  constructor(what: string) {
    this.#what = what
  }

  /** One more was tried. */
  count(hasHeld: boolean): void {
    this.#tried++
    if (hasHeld) this.#held++
  }

  /** Counts each of what was found, by what was tried, and fails naming those that are not as they should be. */
  expectAll(found: Readonly<Record<string, unknown>>, wanted: Readonly<Record<string, unknown>>): void {
    for (const [name, outcome] of Object.entries(found)) this.count(isSame(outcome, wanted[name]))
    expect(found).toEqual(wanted)
  }

  /** Prints both numbers; fails when something was not held, or nothing was tried. */
  end(): void {
    process.stdout.write(`${this.#what}: tried ${this.#tried}, held ${this.#held}\n`)
    expect(this.#tried).toBeGreaterThan(0)
    expect(this.#held).toBe(this.#tried)
  }
}

function isSame(outcome: unknown, wanted: unknown): boolean {
  try {
    expect(outcome).toEqual(wanted)
    return true
  } catch {
    return false
  }
}
