import { mkdir, readdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BerthError, isBerthError } from '@berth/protocol'
import type { Capability, Finding, SandboxDriver, SandboxRef, SandboxSpec } from '../driver.ts'
import { cgroupPids, readCgroups } from './cgroup.ts'
import type { Cgroups } from './cgroup.ts'
import { checkMachine } from './check.ts'
import { assertConfined } from './confinement.ts'
import { lockDirectory } from './directory-lock.ts'
import { admitEpoch } from './epochs.ts'
import { assertSocketsFit, layout } from './layout.ts'
import type { Layout } from './layout.ts'
import { findMachine, shimCgroup, thisProcess } from './machine.ts'
import type { Machine } from './machine.ts'
import { makeDirectory, missingLimits, remakeDirectory } from './making.ts'
import type { MadeDirectory, Making } from './making.ts'
import { OneAtATime } from './one-at-a-time.ts'
import { optionPaths } from './options.ts'
import type { Logger, OciOptions, Settings } from './options.ts'
import { isAlive } from './process-identity.ts'
import type { ProcessIdentity } from './process-identity.ts'
import { clearRemains, removeSandbox, sweepDrafts } from './removal.ts'
import { isKnown } from './runtime.ts'
import { sandboxFiles } from './sandbox-files.ts'
import type { SandboxRecord } from './sandbox-files.ts'
import { startShim } from './shim.ts'
import { assertSpec, isSandboxId } from './spec.ts'
import { UidSlots } from './uid-slots.ts'

const START_TIMEOUT_MS = 30_000

interface Parts {
  readonly settings: Settings
  readonly layout: Layout
  readonly slots: UidSlots
  readonly cgroups: Cgroups
  readonly self: ProcessIdentity
  readonly clock: { now(): number }
  readonly logger: Logger | undefined
}

interface Launch extends MadeDirectory {
  readonly id: string
  readonly machine: Machine
  readonly disk: 'make' | 'keep'
}

/**
 * Sandboxes by an OCI runtime on this machine, without a daemon. Several drivers, in one process or many, may share a state
 * directory. Opening removes what a driver that died had half made or half removed; closing ends no sandbox.
 * Throws `invalid_request` for options that cannot work on any machine; what this machine lacks is said by `check` and `create`.
 */
export async function openOciDriver(options: OciOptions): Promise<SandboxDriver> {
  const parsed = optionPaths.safeParse(options)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new BerthError('invalid_request', `oci driver: ${issue?.path.join('.')}: ${issue?.message}`)
  }
  await mkdir(parsed.data.stateDir, { recursive: true, mode: 0o700 })
  const stateDir = await realpath(parsed.data.stateDir)
  assertSocketsFit(stateDir)
  const at = layout(stateDir)
  await mkdir(at.empty, { recursive: true, mode: 0o755 })
  const parts: Parts = {
    settings: parsed.data,
    layout: at,
    slots: new UidSlots(at.slots),
    cgroups: await readCgroups(),
    self: await thisProcess(),
    clock: options.clock ?? Date,
    logger: options.logger,
  }
  await sweepDrafts(parts)
  return new OciDriver(parts)
}

class OciDriver implements SandboxDriver {
  readonly name = 'oci'
  readonly capabilities: Readonly<Record<Capability, boolean>> = {
    list: true,
    diskQuota: true,
    restart: true,
    suspend: false,
    snapshot: false,
    endpoint: false,
    exec: false,
    setNetworkPolicy: false,
  }
  readonly #parts: Parts
  readonly #ids = new OneAtATime()
  readonly #builds = new OneAtATime()
  #machine: Promise<Machine> | undefined

  constructor(parts: Parts) {
    this.#parts = parts
  }

  check(signal?: AbortSignal): Promise<Finding[]> {
    return checkMachine(this.#parts.settings, this.#parts.layout.stateDir, signal)
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<SandboxRef> {
    return this.#start(spec, signal, (machine, stop) => this.#createOrFind(spec, machine, stop))
  }

  async restart(spec: SandboxSpec, signal?: AbortSignal): Promise<SandboxRef> {
    return this.#start(spec, signal, (machine, stop) => this.#restart(spec, machine, stop))
  }

  async #start(
    spec: SandboxSpec,
    signal: AbortSignal | undefined,
    start: (machine: Machine, stop: AbortSignal) => Promise<SandboxRef>,
  ): Promise<SandboxRef> {
    await assertSpec(spec)
    const machine = await this.#readyMachine()
    const timeout = AbortSignal.timeout(START_TIMEOUT_MS)
    const stop = signal ? AbortSignal.any([timeout, signal]) : timeout
    try {
      return await this.#ids.run(spec.id, () => start(machine, stop))
    } catch (error) {
      if (!timeout.aborted || error !== timeout.reason) throw error
      throw new BerthError('timeout', `sandbox ${spec.id} did not start within ${START_TIMEOUT_MS / 1000} s`)
    }
  }

  async get(id: string): Promise<SandboxRef | undefined> {
    if (!isSandboxId(id)) return undefined
    const record = await sandboxFiles.readRecord(this.#parts.layout.sandbox(id))
    return record === undefined ? undefined : this.#ref(record)
  }

  async renew(id: string, until: Date, epoch: number): Promise<void> {
    if ((await this.get(id))?.state !== 'running') throw new BerthError('not_found', `sandbox ${id} is not running`)
    const dir = this.#parts.layout.sandbox(id)
    await admitEpoch(dir, id, epoch)
    await sandboxFiles.writeUntil(dir, until.getTime() - this.#parts.clock.now())
  }

  async destroy(id: string, epoch?: number): Promise<void> {
    if (!isSandboxId(id)) return
    await this.#ids.run(id, async () => {
      if (epoch !== undefined) await admitEpoch(this.#parts.layout.sandbox(id), id, epoch)
      await removeSandbox(this.#parts, id)
    })
  }

  async list(labels: Readonly<Record<string, string>> = {}): Promise<SandboxRef[]> {
    const wanted = Object.entries(labels)
    const names = (await readdir(this.#parts.layout.stateDir)).filter((name) => !name.startsWith('.'))
    const refs = await Promise.all(names.map((name) => this.get(name)))
    return refs
      .filter((ref) => ref !== undefined)
      .filter((ref) => wanted.every(([key, value]) => ref.labels[key] === value))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ids.idle()
  }

  /** Looked up once; a machine that lacks something is looked at again, for somebody may have installed it. */
  async #readyMachine(): Promise<Machine> {
    this.#machine ??= findMachine(this.#parts.settings.runtime)
    try {
      const machine = await this.#machine
      const missing = missingLimits(machine.cgroups.has, this.#parts.settings.withoutLimits)
      if (missing.length > 0) {
        throw new BerthError('unavailable', `this machine has no cgroup controller for: ${missing.join(', ')}`)
      }
      return machine
    } catch (error) {
      this.#machine = undefined
      throw error
    }
  }

  async #createOrFind(spec: SandboxSpec, machine: Machine, signal: AbortSignal): Promise<SandboxRef> {
    for (;;) {
      signal.throwIfAborted()
      const existing = await this.#existing(spec)
      const ref = existing === 'absent' ? await this.#make(spec, machine, signal) : existing
      if (ref !== 'coming') return ref
      await sleep(10, undefined, { signal })
    }
  }

  /**
   * The sandbox of this id if it lives; `coming` while another driver makes it. Clears away one whose maker died before it came to
   * life. Throws `conflict` for one that has ended.
   */
  async #existing({ id, epoch }: SandboxSpec): Promise<SandboxRef | 'coming' | 'absent'> {
    const dir = this.#parts.layout.sandbox(id)
    const record = await sandboxFiles.readRecord(dir)
    if (record === undefined) return 'absent'
    await admitEpoch(dir, id, epoch)
    const started = await sandboxFiles.hasStarted(dir)
    const ref = await this.#ref(record)
    if (started && ref.state === 'running') return ref
    if (started) throw new BerthError('conflict', `sandbox ${id} has ended; destroy it first, or take another id`)
    if (await isAlive(record.maker)) return 'coming'
    await removeSandbox(this.#parts, id)
    return 'absent'
  }

  async #make(spec: SandboxSpec, machine: Machine, signal: AbortSignal): Promise<SandboxRef | 'coming'> {
    const made = await makeDirectory(this.#making(machine), spec)
    if (made === undefined) return 'coming'
    try {
      await this.#launch({ id: spec.id, machine, disk: 'make', ...made }, signal)
    } catch (error) {
      await removeSandbox(this.#parts, spec.id)
      throw error
    }
    return {
      id: spec.id,
      labels: spec.labels,
      state: 'running',
      runDir: join(this.#parts.layout.sandbox(spec.id), 'run'),
      uidBase: made.uidBase,
    }
  }

  async #restart(spec: SandboxSpec, machine: Machine, signal: AbortSignal): Promise<SandboxRef> {
    const { id } = spec
    const dir = this.#parts.layout.sandbox(id)
    const absent = (): BerthError => new BerthError('not_found', `nothing is left of sandbox ${id}`)
    if ((await sandboxFiles.readRecord(dir)) === undefined) throw absent()
    await using _lock = await lockDirectory(dir)
    await admitEpoch(dir, id, spec.epoch)
    const ref = await this.get(id)
    if (ref?.uidBase === undefined) throw absent()
    if (ref.state === 'running') throw new BerthError('conflict', `sandbox ${id} is running`)
    if (!(await sandboxFiles.hasStarted(dir))) {
      throw new BerthError('unavailable', `sandbox ${id} never came to life: its disk holds nothing`)
    }
    await clearRemains(this.#parts, id)
    signal.throwIfAborted()
    const made = await remakeDirectory(this.#making(machine), spec, ref.uidBase)
    try {
      await this.#launch({ id, machine, disk: 'keep', ...made }, signal)
    } catch (error) {
      // Gone again when the caller hears of it; unless it was destroyed, when what has this id may be another's.
      if (!isBerthError(error, 'conflict')) await clearRemains(this.#parts, id)
      throw error
    }
    return { ...ref, state: 'running' }
  }

  #making(machine: Machine): Making {
    const { layout, settings, slots, clock } = this.#parts
    return { settings, layout, slots, machine, now: clock.now(), builds: this.#builds }
  }

  async #launch({ id, machine, disk, ...made }: Launch, signal: AbortSignal): Promise<void> {
    const { layout, logger } = this.#parts
    const shim = {
      id,
      dir: layout.sandbox(id),
      uidBase: made.uidBase,
      runtime: machine.runtime.path,
      runtimeRoot: layout.runtime,
      hide: machine.runtime.name === 'crun' ? machine.cgroups.unified : undefined,
      join: await shimCgroup(machine.cgroups),
      layers: made.layers,
      disk,
    }
    await startShim(shim, signal)
    if (isKnown(machine.runtime)) await assertConfined({ id, uidBase: made.uidBase, cgroups: machine.cgroups }, signal)
    logger?.debug({ sandbox_id: id, disk }, 'sandbox started')
  }

  async #ref({ id, labels, uidBase, maker }: SandboxRecord): Promise<SandboxRef> {
    const dir = this.#parts.layout.sandbox(id)
    const shim = await sandboxFiles.readShim(dir)
    const alive = await isAlive(shim ?? maker)
    const running = alive || (await cgroupPids(this.#parts.cgroups, id)).length > 0
    return { id, labels, uidBase, runDir: join(dir, 'run'), state: running ? 'running' : 'gone' }
  }
}
