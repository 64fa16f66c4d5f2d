import type { Fault } from './parse-script.ts'

const MAX_KEYS = 10_000

/** Counts the tries of each step, so that a fault with `times` ends. The only memory of the model beside its log. */
export class FaultTries {
  #tries = new Map<string, number>()

  /** The fault that strikes this try, if any. `key` names the step in its conversation. */
  next(key: string, faults: Fault[]): Fault | undefined {
    if (faults.length === 0) return undefined
    const tries = this.#tries.get(key) ?? 0
    this.#tries.delete(key)
    this.#tries.set(key, tries + 1)
    this.#forgetOldest()
    let before = 0
    return faults.find((fault) => tries < (before += fault.times))
  }

  #forgetOldest(): void {
    for (const oldest of this.#tries.keys()) {
      if (this.#tries.size <= MAX_KEYS) return
      this.#tries.delete(oldest)
    }
  }
}
