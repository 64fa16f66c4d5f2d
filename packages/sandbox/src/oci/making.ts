import { chmod, chown, mkdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inside } from '../driver.ts'
import type { SandboxSpec } from '../driver.ts'
import { ociConfig } from './bundle.ts'
import { controllers } from './cgroup.ts'
import type { Cgroups, Controller } from './cgroup.ts'
import { firstEpoch } from './epochs.ts'
import { errno } from './errno.ts'
import type { Layout } from './layout.ts'
import type { Machine } from './machine.ts'
import type { OneAtATime } from './one-at-a-time.ts'
import type { Settings } from './options.ts'
import { ensureMountPoints, ensureSkeleton } from './skeleton.ts'
import { replaceFile, sandboxFiles } from './sandbox-files.ts'
import { UidSlots } from './uid-slots.ts'

export interface Making {
  readonly settings: Settings
  readonly layout: Layout
  readonly slots: UidSlots
  readonly machine: Machine
  readonly now: number
  readonly builds: OneAtATime
}

/** A sandbox's directory under its own name, ready for the shim. */
export interface MadeDirectory {
  readonly uidBase: number
  readonly layers: readonly string[]
}

/**
 * Makes the directory of a sandbox aside and gives it its name when it is complete. undefined: somebody else has just made it.
 * Leaves nothing when it throws.
 */
export async function makeDirectory(making: Making, spec: SandboxSpec): Promise<MadeDirectory | undefined> {
  const draft = making.layout.draft('new', spec.id, making.machine.self)
  await mkdir(draft, { mode: 0o700 })
  try {
    const made = await fillDirectory(making, spec, draft)
    await rename(draft, making.layout.sandbox(spec.id))
    return made
  } catch (error) {
    await making.slots.release(draft)
    await rm(draft, { recursive: true, force: true })
    if (errno(error) === 'ENOTEMPTY' || errno(error) === 'EEXIST') return undefined
    throw error
  }
}

async function fillDirectory(making: Making, spec: SandboxSpec, draft: string): Promise<MadeDirectory> {
  const slot = await making.slots.take(draft)
  const uidBase = UidSlots.uidBase(slot)
  // One after the other: of many first sandboxes one builds the skeleton and the others find it.
  const layers = await making.builds.run('layers', () => layersOf(making, spec))
  await Promise.all([
    makeRunDir(join(draft, 'run'), uidBase),
    makeDisk(draft, spec.limits.diskBytes, uidBase),
    sandboxFiles.writeUntil(draft, spec.until.getTime() - making.now),
    firstEpoch(draft, spec.epoch),
    sandboxFiles.writeRecord(draft, { id: spec.id, labels: spec.labels, uidBase, maker: making.machine.self }),
    writeConfig(making, spec, { dir: draft, uidBase }),
  ])
  return { uidBase, layers }
}

/**
 * Readies the directory of a sandbox that is gone for another shim; the disk stays. Whatever is written is of no account until a shim
 * runs, so a crash in between changes nothing.
 */
export async function remakeDirectory(making: Making, spec: SandboxSpec, uidBase: number): Promise<MadeDirectory> {
  const dir = making.layout.sandbox(spec.id)
  const layers = await making.builds.run('layers', () => layersOf(making, spec))
  await sandboxFiles.writeUntil(dir, spec.until.getTime() - making.now)
  await writeConfig(making, spec, { dir, uidBase })
  return { uidBase, layers }
}

async function writeConfig(making: Making, spec: SandboxSpec, at: { dir: string; uidBase: number }): Promise<void> {
  await replaceFile(join(at.dir, 'config.json'), JSON.stringify(await config(making, spec, at.uidBase)))
}

/** What the root file system consists of: the skeleton, or an image with our mount points laid over it. */
async function layersOf(making: Making, spec: SandboxSpec): Promise<string[]> {
  const { skeletons } = making.layout
  const { image, authorities = [] } = spec
  return image === null
    ? [await ensureSkeleton(skeletons, authorities)]
    : [await ensureMountPoints(skeletons, authorities), image]
}

async function makeRunDir(run: string, uidBase: number): Promise<void> {
  await mkdir(run, { mode: 0o755 })
  await mkdir(join(run, 'gw'), { mode: 0o755 })
  await mkdir(join(run, 'link'), { mode: 0o700 })
  await chown(join(run, 'link'), uidBase, uidBase)
}

/** The image, empty and sparse, and the directories that mkfs puts into it with their owners. */
async function makeDisk(draft: string, bytes: number, uidBase: number): Promise<void> {
  const agent = uidBase + inside.firstUid
  await writeFile(join(draft, 'disk.img'), '', { mode: 0o600 })
  await truncate(join(draft, 'disk.img'), bytes)
  await mkdir(join(draft, 'disk'))
  await seed(join(draft, 'seed/workspace'), 0o755, agent)
  await seed(join(draft, 'seed/home'), 0o1777, uidBase)
  await seed(join(draft, 'seed/outputs'), 0o755, agent)
}

async function seed(path: string, mode: number, owner: number): Promise<void> {
  await mkdir(path, { recursive: true })
  await chmod(path, mode)
  await chown(path, owner, owner)
}

async function config(making: Making, spec: SandboxSpec, uidBase: number): Promise<object> {
  const { settings, layout, machine } = making
  return ociConfig({
    spec,
    uidBase,
    dir: layout.sandbox(spec.id),
    emptyDir: layout.empty,
    init: machine.init,
    node: settings.node,
    claude: settings.claude,
    runner: settings.runner,
    archiver: settings.archiver,
    nodeFlags: settings.nodeFlags,
    hardFiles: await hardFileLimit(),
    arch: process.arch,
    limits: machine.cgroups.has,
    swapLimit: machine.cgroups.swapLimit,
    cgroupV2: machine.cgroups.version === 'v2',
  })
}

async function hardFileLimit(): Promise<number> {
  const line = /^Max open files +\S+ +(\S+)/m.exec(await readFile('/proc/self/limits', 'utf8'))
  const hard = Number(line?.[1])
  return Number.isInteger(hard) ? hard : 4096
}

/** Limits that neither this machine enforces nor the operator has waived. */
export function missingLimits(has: Cgroups['has'], waived: readonly Controller[]): Controller[] {
  return controllers.filter((name) => !has[name] && !waived.includes(name))
}
