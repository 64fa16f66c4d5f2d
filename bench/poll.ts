/** Waits for what leaves a time behind: looking seldom loses no accuracy, looking often would slow down what is measured. */
import { setTimeout as sleep } from 'node:timers/promises'

const EVERY_MS = 100
const PATIENCE_MS = 60_000

/** Answers what the probe answers, when that is something. Throws, with what was waited for, after a minute. */
export async function poll<Value>(what: string, probe: () => Promise<Value | undefined>): Promise<Value> {
  for (const deadline = performance.now() + PATIENCE_MS; ;) {
    const value = await probe()
    if (value !== undefined) return value
    if (performance.now() > deadline) throw new Error(`gave up waiting until ${what}`)
    await sleep(EVERY_MS)
  }
}
