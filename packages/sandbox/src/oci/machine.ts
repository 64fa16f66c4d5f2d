import { mkdir, readFile } from 'node:fs/promises'
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
  for (const program of ['mkfs.ext4', 'e2fsck', 'flock', 'mount', 'umount', 'unshare', 'bash']) {
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
 * Where a service manager tracks processes by cgroup, it ends whatever is in the server's when the server stops. There the shims get
 * a cgroup beside the sandboxes' own; the answer are the files to enter by. Elsewhere there is nothing to leave, and entering costs
 * some 10 ms: none.
 */
export async function shimCgroup(cgroups: Cgroups): Promise<string[]> {
  const own = parseOwnCgroups(await readFile('/proc/self/cgroup', 'utf8'))
  const tracked = cgroups.version === 'v2' ? own.get('') : own.get('name=systemd')
  const mount = cgroups.version === 'v2' ? cgroups.mounts[0] : cgroups.mounts.find((path) => path.endsWith('/systemd'))
  if (tracked === undefined || tracked === '/' || mount === undefined) return []
  const dir = join(mount, CGROUP_PARENT, 'shim-chains')
  await mkdir(dir, { recursive: true })
  return [join(dir, 'cgroup.procs')]
}

/** `/proc/<pid>/cgroup`: path by hierarchy, which is named by its controllers; v2 has the empty name. */
export function parseOwnCgroups(text: string): Map<string, string> {
  const lines = text.split('\n').map((line) => /^\d+:([^:]*):(.*)$/.exec(line))
  return new Map(lines.flatMap((match) => (match ? [[match[1] ?? '', match[2] ?? '']] : [])))
}
