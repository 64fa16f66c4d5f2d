import { randomBytes } from 'node:crypto'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, it } from 'vitest'
import type { SandboxDriver, SandboxRef, SandboxSpec } from '../driver.ts'
import { Probe, probeRunner } from './probe.ts'

const MIB = 1024 * 1024
const UNTIL_TIMEOUT_MS = 40_000

/** What a driver is opened with by the suite. Drivers opened with the same `stateDir` share their sandboxes. */
export interface OpenInput {
  readonly stateDir: string
  /** Host path of the program to launch as the runner. */
  readonly runner: string
}

export interface DriverUnderTest {
  readonly open: (input: OpenInput) => Promise<SandboxDriver>
  /** The same `open` for another process: a module that exports it under this name. Needed to kill a server. */
  readonly openIn?: { readonly module: string; readonly export: string }
  /** Ends the sandbox behind the driver's back, as a crash of whatever holds it would. */
  readonly crash?: (input: OpenInput, ref: SandboxRef) => Promise<void>
  /** Makes the disk of a sandbox that is gone unusable, beyond repair. */
  readonly damage?: (input: OpenInput, ref: SandboxRef) => Promise<void>
  /** How many processes and threads the machine counts in a sandbox. */
  readonly processes?: (input: OpenInput, ref: SandboxRef) => Promise<number>
  /** Everything that is still on the machine of these sandboxes, one line each. */
  readonly leftovers?: (input: OpenInput, ids: readonly string[]) => Promise<string[]>
  /** Promises that the driver does not keep, each with why. */
  readonly skip?: readonly { readonly test: string; readonly reason: string }[]
}

export interface LinkedSandbox extends AsyncDisposable {
  readonly ref: SandboxRef
  readonly probe: Probe
}

/** One state directory, one driver, and the sandboxes that a test makes in it; disposing of it destroys them all. */
export class Bench implements AsyncDisposable {
  readonly input: OpenInput
  readonly driver: SandboxDriver
  readonly #test: DriverUnderTest
  readonly #ids: string[] = []

  constructor(test: DriverUnderTest, input: OpenInput, driver: SandboxDriver) {
    this.#test = test
    this.input = input
    this.driver = driver
  }

  static async open(test: DriverUnderTest): Promise<Bench> {
    const stateDir = await realpath(await mkdtemp(join(tmpdir(), 'sbx-')))
    const input = { stateDir, runner: probeRunner }
    return new Bench(test, input, await test.open(input))
  }

  /** A small sandbox of a new id, for an hour. */
  spec(change: Partial<SandboxSpec> = {}): SandboxSpec {
    const id = change.id ?? `sbx_${randomBytes(6).toString('hex')}`
    this.#ids.push(id)
    return {
      id,
      epoch: 1,
      labels: {},
      limits: { cpus: 2, memoryBytes: 512 * MIB, diskBytes: 64 * MIB, pids: 128, files: 1024 },
      until: inSeconds(3600),
      env: { BERTH_SANDBOX_ID: id },
      image: null,
      ...change,
    }
  }

  /** Creates one and returns it with its link. */
  async sandbox(change: Partial<SandboxSpec> = {}): Promise<LinkedSandbox> {
    const ref = await this.driver.create(this.spec(change))
    const probe = await Probe.listen(ref)
    return { ref, probe, [Symbol.asyncDispose]: () => probe[Symbol.asyncDispose]() }
  }

  /** What is on the machine of every sandbox that this bench has named. */
  async leftovers(): Promise<string[]> {
    return (await this.#test.leftovers?.(this.input, this.#ids)) ?? []
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of this.#ids) await this.driver.destroy(id)
    await this.driver[Symbol.asyncDispose]()
    const left = await this.leftovers()
    await rm(this.input.stateDir, { recursive: true, force: true })
    if (left.length > 0) throw new Error(`left behind: ${left.join('; ')}`)
  }
}

/** Sandboxes for all tests of a `describe` that leave them as they were; called inside of it. */
export function standing(test: DriverUnderTest, specs: readonly Partial<SandboxSpec>[]): () => LinkedSandbox[] {
  const made: LinkedSandbox[] = []
  let bench: Bench
  beforeAll(async () => {
    bench = await Bench.open(test)
    for (const spec of specs) made.push(await bench.sandbox(spec))
  })
  afterAll(async () => {
    await using _bench = bench
    for (const sandbox of made) await sandbox[Symbol.asyncDispose]()
  })
  return () => made
}

/** Registers one promise as a test, unless the driver has said that it does not keep it. */
export function promise(test: DriverUnderTest, sentence: string, check: () => Promise<void>): void {
  const skipped = test.skip?.find((entry) => entry.test === sentence)
  if (skipped) it.skip(`${sentence} (${skipped.reason})`, check)
  else it(sentence, check)
}

export function inSeconds(seconds: number): Date {
  return new Date(Date.now() + seconds * 1000)
}

/** Looks again and again until it is so. Gives up before the test's own timeout would leave its sandboxes behind. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + UNTIL_TIMEOUT_MS
  while (!(await condition())) {
    if (performance.now() > deadline)
      throw new Error(`still not so after ${UNTIL_TIMEOUT_MS} ms: ${condition.toString()}`)
    await sleep(25)
  }
}
