import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { BerthError } from '@berth/protocol'
import { CGROUP_PARENT, readCgroups } from './cgroup.ts'
import type { Cgroups } from './cgroup.ts'
import { ROOT_MOUNT_POINT } from './layout.ts'
import { identify } from './process-identity.ts'
import type { ProcessIdentity } from './process-identity.ts'
import { findProgram, findRuntime } from './runtime.ts'
import type { OciRuntime } from './runtime.ts'

/** What the driver needs of this machine. */
export interface Machine {
  readonly runtime: OciRuntime
  /** Host path of catatonit. */
  readonly init: string
  readonly cgroups: Cgroups
  /** This process. */
  readonly self: ProcessIdentity
}

/** `unavailable`, naming it, when something that every sandbox needs is missing. Nothing weaker is taken instead. */
export async function findMachine(wantedRuntime: string): Promise<Machine> {
  if (process.getuid?.() !== 0) throw new BerthError('unavailable', 'the oci driver must run as root')
  const runtime = await findRuntime(wantedRuntime)
  if (runtime === undefined) throw new BerthError('unavailable', missingRuntime(wantedRuntime))
  const init = await findProgram('catatonit')
  if (init === undefined) throw new BerthError('unavailable', 'catatonit is not installed')
  await mkdir(ROOT_MOUNT_POINT, { recursive: true, mode: 0o755 })
  for (const program of ['mkfs.ext4', 'mount', 'umount', 'unshare', 'bash']) {
    if ((await findProgram(program)) === undefined) throw new BerthError('unavailable', `${program} is not installed`)
  }
  return { runtime, init, cgroups: await readCgroups(), self: await thisProcess() }
}

export function missingRuntime(wanted: string): string {
  return wanted === 'auto' ? 'neither crun nor runc is installed' : `${wanted} is not a working OCI runtime`
}

export async function thisProcess(): Promise<ProcessIdentity> {
  const self = await identify(process.pid)
  if (self === undefined) throw new BerthError('unavailable', '/proc is not mounted')
  return self
}

/**
 * A cgroup beside the sandboxes' own for their shims, where a service manager tracks processes by cgroup: it ends whatever is in
 * the server's when the server stops. Returns the files to enter by.
 */
export async function shimCgroup(cgroups: Cgroups): Promise<string[]> {
  const tracked =
    cgroups.version === 'v2' ? cgroups.mounts : cgroups.mounts.filter((mount) => mount.endsWith('/systemd'))
  const dirs = tracked.map((mount) => join(mount, CGROUP_PARENT, 'shim-chains'))
  for (const dir of dirs) await mkdir(dir, { recursive: true })
  return dirs.map((dir) => join(dir, 'cgroup.procs'))
}
