import { readFile, readdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errno } from './errno.ts'

/** What limits a sandbox. */
export const controllers = ['cpu', 'memory', 'pids'] as const
export type Controller = (typeof controllers)[number]

/** Below the root of every hierarchy: all sandboxes of this machine, each in a cgroup named by its id. */
export const CGROUP_PARENT = 'berth'

/** How this machine counts and limits. */
export interface Cgroups {
  /** `hybrid`: v1 controllers and, beside them, a v2 hierarchy. */
  readonly version: 'v1' | 'hybrid' | 'v2' | 'none'
  /** Mount points of all hierarchies. */
  readonly mounts: readonly string[]
  readonly has: Readonly<Record<Controller, boolean>>
  /** Mount point of the v2 hierarchy beside v1 controllers. */
  readonly unified: string | undefined
  /** Whether memory and swap can be limited together. */
  readonly swapLimit: boolean
}

export async function readCgroups(mountinfo = '/proc/self/mountinfo'): Promise<Cgroups> {
  const mounts = parseCgroupMounts(await readFile(mountinfo, 'utf8'))
  const v1 = mounts.filter((mount) => mount.type === 'cgroup')
  const v2 = mounts.find((mount) => mount.type === 'cgroup2')
  const available = new Set(v1.flatMap((mount) => mount.options))
  if (v1.length === 0 && v2 !== undefined) {
    for (const name of (await readOrEmpty(join(v2.path, 'cgroup.controllers'))).trim().split(' ')) available.add(name)
  }
  const memory = v1.find((mount) => mount.options.includes('memory'))
  return {
    version: v1.length > 0 ? (v2 ? 'hybrid' : 'v1') : v2 ? 'v2' : 'none',
    mounts: mounts.map((mount) => mount.path),
    has: { cpu: available.has('cpu'), memory: available.has('memory'), pids: available.has('pids') },
    unified: v1.length > 0 ? v2?.path : undefined,
    swapLimit: memory === undefined || (await readOrEmpty(join(memory.path, 'memory.memsw.limit_in_bytes'))) !== '',
  }
}

interface CgroupMount {
  readonly path: string
  readonly type: 'cgroup' | 'cgroup2'
  readonly options: readonly string[]
}

export function parseCgroupMounts(mountinfo: string): CgroupMount[] {
  const found = new Map<string, CgroupMount>()
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ')
    const path = left?.split(' ')[4]
    const [type, , options] = right?.split(' ') ?? []
    if (path === undefined || (type !== 'cgroup' && type !== 'cgroup2')) continue
    found.set(path, { path, type, options: options?.split(',') ?? [] })
  }
  return [...found.values()]
}

/** Host pids in the sandbox's cgroup. */
export async function cgroupPids(cgroups: Cgroups, id: string): Promise<number[]> {
  const pids = new Set<number>()
  for (const mount of cgroups.mounts) {
    const procs = await readOrEmpty(join(mount, CGROUP_PARENT, id, 'cgroup.procs'))
    for (const pid of procs.split('\n')) if (pid !== '') pids.add(Number(pid))
  }
  return [...pids]
}

/** Removes the sandbox's cgroup from every hierarchy. True when none is left. */
export async function removeCgroups(cgroups: Cgroups, id: string): Promise<boolean> {
  let gone = true
  for (const mount of cgroups.mounts) gone = (await removeTree(join(mount, CGROUP_PARENT, id))) && gone
  return gone
}

/** A cgroup's directory goes by rmdir, its files being no files, and only after those inside it. */
async function removeTree(dir: string): Promise<boolean> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => [])
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(dir, entry.name))
  try {
    await rmdir(dir)
    return true
  } catch (error) {
    return errno(error) === 'ENOENT'
  }
}

function readOrEmpty(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}
