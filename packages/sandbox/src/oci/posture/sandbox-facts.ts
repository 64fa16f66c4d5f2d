import { readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { CGROUP_PARENT, cgroupPids } from '../cgroup.ts'
import type { Cgroups } from '../cgroup.ts'

/** A process of a sandbox as the host's kernel sees it; numbers of users are the host's. */
export interface ProcessFacts {
  readonly pid: number
  /** Real, effective, saved and file system ids. */
  readonly uids: readonly number[]
  readonly gids: readonly number[]
  readonly groups: readonly number[]
  readonly capabilities: Readonly<Record<CapabilitySet, bigint>>
  readonly noNewPrivileges: boolean
  /** 2: a filter. */
  readonly seccomp: number
  readonly uidMap: string
  readonly gidMap: string
  /** Link of each namespace, by kind. */
  readonly namespaces: Readonly<Record<NamespaceKind, string>>
  /** Bytes of a core dump. */
  readonly coreLimit: string
}

const capabilitySets = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'] as const
export type CapabilitySet = (typeof capabilitySets)[number]
export const namespaceKinds = ['user', 'pid', 'mnt', 'net', 'ipc', 'uts', 'cgroup'] as const
export type NamespaceKind = (typeof namespaceKinds)[number]

export interface MountFacts {
  /** Inside. */
  readonly at: string
  /** Of the file system's own tree, the part that is mounted. */
  readonly root: string
  readonly type: string
  readonly options: readonly string[]
}

export interface SandboxFacts {
  readonly processes: readonly ProcessFacts[]
  readonly interfaces: readonly string[]
  /** Routes of IPv4 and IPv6 that lead elsewhere than to loopback. */
  readonly routes: readonly string[]
  readonly mounts: readonly MountFacts[]
  /** What the kernel counts to, by the file that says so. */
  readonly limits: Readonly<Record<string, string>>
}

/** Reads it all from outside: nothing in the sandbox is asked. Throws when the sandbox has no process. */
export async function readSandboxFacts(id: string, cgroups: Cgroups): Promise<SandboxFacts> {
  const pids = await cgroupPids(cgroups, id)
  const first = pids[0]
  if (first === undefined) throw new Error(`sandbox ${id} has no process`)
  const [processes, mounts, dev, route, route6, limits] = await Promise.all([
    Promise.all(pids.map(readProcessFacts)),
    proc(first, 'mountinfo'),
    proc(first, 'net/dev'),
    proc(first, 'net/route'),
    proc(first, 'net/ipv6_route').catch(() => ''),
    readLimits(id, cgroups),
  ])
  return {
    processes,
    mounts: linesOf(mounts).map(parseMount),
    interfaces: linesOf(dev)
      .slice(2)
      .map((line) => line.split(':')[0]?.trim() ?? ''),
    routes: [...linesOf(route).slice(1), ...linesOf(route6).filter((line) => !line.endsWith(' lo'))],
    limits,
  }
}

export async function namespacesOf(pid: number | 'self'): Promise<Record<NamespaceKind, string>> {
  const link = (kind: NamespaceKind): Promise<string> => readlink(`/proc/${pid}/ns/${kind}`)
  const [user, pidNs, mnt, net, ipc, uts, cgroup] = await Promise.all([
    link('user'),
    link('pid'),
    link('mnt'),
    link('net'),
    link('ipc'),
    link('uts'),
    link('cgroup'),
  ])
  return { user, pid: pidNs, mnt, net, ipc, uts, cgroup }
}

async function readProcessFacts(pid: number): Promise<ProcessFacts> {
  const [status, uidMap, gidMap, namespaces, limits] = await Promise.all([
    proc(pid, 'status'),
    proc(pid, 'uid_map'),
    proc(pid, 'gid_map'),
    namespacesOf(pid),
    proc(pid, 'limits'),
  ])
  const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1] ?? ''
  const numbers = (name: string): number[] =>
    field(name)
      .split(/\s+/)
      .filter((word) => word !== '')
      .map(Number)
  const set = (name: CapabilitySet): bigint => BigInt(`0x${field(name)}`)
  return {
    pid,
    uids: numbers('Uid'),
    gids: numbers('Gid'),
    groups: numbers('Groups'),
    capabilities: {
      CapInh: set('CapInh'),
      CapPrm: set('CapPrm'),
      CapEff: set('CapEff'),
      CapBnd: set('CapBnd'),
      CapAmb: set('CapAmb'),
    },
    noNewPrivileges: field('NoNewPrivs') === '1',
    seccomp: Number(field('Seccomp')),
    uidMap: uidMap.trim().replaceAll(/\s+/g, ' '),
    gidMap: gidMap.trim().replaceAll(/\s+/g, ' '),
    namespaces,
    coreLimit: /^Max core file size +(\S+)/m.exec(limits)?.[1] ?? '',
  }
}

function parseMount(line: string): MountFacts {
  const [left = '', right = ''] = line.split(' - ')
  const [, , , root = '', at = '', options = ''] = left.split(' ')
  return { root, at, options: options.split(','), type: right.split(' ')[0] ?? '' }
}

const limitFiles = [
  'memory.max',
  'memory.limit_in_bytes',
  'memory.swap.max',
  'memory.memsw.limit_in_bytes',
  'pids.max',
  'cpu.max',
  'cpu.cfs_quota_us',
]

async function readLimits(id: string, cgroups: Cgroups): Promise<Record<string, string>> {
  const found = await Promise.all(
    cgroups.mounts.flatMap((mount) =>
      limitFiles.map(async (name): Promise<[string, string] | undefined> => {
        const text = await readFile(join(mount, CGROUP_PARENT, id, name), 'utf8').catch(() => undefined)
        return text === undefined ? undefined : [name, text.trim()]
      }),
    ),
  )
  return Object.fromEntries(found.filter((one) => one !== undefined))
}

function proc(pid: number, name: string): Promise<string> {
  return readFile(`/proc/${pid}/${name}`, 'utf8')
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}
