import { readdir, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BerthError } from '@berth/protocol'
import { cgroupPids, removeCgroups } from './cgroup.ts'
import type { Cgroups } from './cgroup.ts'
import { errno } from './errno.ts'
import { parseDraft } from './layout.ts'
import type { Layout } from './layout.ts'
import { loopDevicesOf } from './loop-devices.ts'
import { identify, isAlive, killProcess } from './process-identity.ts'
import type { ProcessIdentity } from './process-identity.ts'
import { sandboxFiles } from './sandbox-files.ts'
import type { UidSlots } from './uid-slots.ts'

const KILL_TIMEOUT_MS = 5_000

export interface Removal {
  readonly layout: Layout
  readonly slots: UidSlots
  readonly cgroups: Cgroups
  /** This process. */
  readonly self: ProcessIdentity
}

/**
 * Ends and removes a sandbox, whatever state it is in. Any number of processes may do so at once: the one that renames the directory
 * away gives back its uid range. Throws `timeout` when something of it would not end; everything is then still on record.
 */
export async function removeSandbox(removal: Removal, id: string): Promise<void> {
  const dir = removal.layout.sandbox(id)
  await endProcesses(removal, id, dir)
  const dead = removal.layout.draft('dead', id, removal.self)
  try {
    await rename(dir, dead)
  } catch (error) {
    if (errno(error) === 'ENOENT') return
    throw error
  }
  await erase(removal, id, dead)
}

/** Removes what processes that have died were making or removing. */
export async function sweepDrafts(removal: Removal): Promise<void> {
  for (const name of await readdir(removal.layout.stateDir)) {
    const draft = parseDraft(name)
    if (draft === undefined) continue
    const owner = await identify(draft.pid)
    if (owner?.start === draft.start) continue
    const dead = removal.layout.draft('dead', draft.id, removal.self)
    try {
      await rename(join(removal.layout.stateDir, name), dead)
    } catch (error) {
      if (errno(error) === 'ENOENT') continue
      throw error
    }
    await erase(removal, draft.id, dead)
  }
}

async function erase(removal: Removal, id: string, dead: string): Promise<void> {
  // A maker may have put a shim on record after the first look; under its new name it cannot. Otherwise whatever lives under this
  // id is by now another's.
  const late = await sandboxFiles.readShim(dead)
  if (late !== undefined && (await isAlive(late))) await endProcesses(removal, id, dead)
  await removal.slots.release(dead)
  await rm(dead, { recursive: true, force: true })
}

/** Sees to it that nothing of a sandbox that is gone is left but its directory. `timeout` when something would not end. */
export async function clearRemains(removal: Removal, id: string): Promise<void> {
  await endProcesses(removal, id, removal.layout.sandbox(id))
}

/**
 * Kills the shim, with which the kernel kills all others, and waits until nothing is left to hold the disk. The loop device is the
 * witness: it lasts as long as any mount namespace of the sandbox does.
 */
async function endProcesses(removal: Removal, id: string, dir: string): Promise<void> {
  const shim = await sandboxFiles.readShim(dir)
  const deadline = performance.now() + KILL_TIMEOUT_MS
  for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
    if (shim !== undefined) await killProcess(shim)
    for (const pid of await cgroupPids(removal.cgroups, id)) await killPid(pid)
    if (await isGone(removal, id, dir, shim)) break
    if (performance.now() > deadline)
      throw new BerthError('timeout', `processes of sandbox ${id} did not end within 5 s`)
    await sleep(pause)
  }
  await rm(join(removal.layout.runtime, id), { recursive: true, force: true })
}

async function isGone({ layout, cgroups }: Removal, id: string, dir: string, shim: ProcessIdentity | undefined) {
  if (shim !== undefined && (await isAlive(shim))) return false
  if (!(await removeCgroups(cgroups, id))) return false
  return (await loopDevicesOf(`/${basename(layout.stateDir)}/${basename(dir)}/disk.img`)).length === 0
}

async function killPid(pid: number): Promise<void> {
  const process = await identify(pid)
  if (process !== undefined) await killProcess(process)
}
