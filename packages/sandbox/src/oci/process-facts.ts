import { readFile, readlink } from 'node:fs/promises'
import type { namespaces } from './bundle.ts'
import { errno } from './errno.ts'

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
  readonly namespaces: NamespaceLinks
  /** Bytes of a core dump. */
  readonly coreLimit: string
}

export type CapabilitySet = 'CapBnd' | 'CapPrm' | 'CapEff' | 'CapInh' | 'CapAmb'

/** As the runtime specification names them. */
export type NamespaceKind = (typeof namespaces)[number]
/** Equal for processes that are in the same one. */
export type NamespaceLinks = Readonly<Record<NamespaceKind, string>>

/** Undefined: it has ended. */
export async function readProcessFacts(pid: number): Promise<ProcessFacts | undefined> {
  try {
    const [status, uidMap, gidMap, links, limits] = await Promise.all([
      proc(pid, 'status'),
      proc(pid, 'uid_map'),
      proc(pid, 'gid_map'),
      namespacesOf(pid),
      proc(pid, 'limits'),
    ])
    return {
      pid,
      ...parseStatus(status),
      uidMap: uidMap.trim().replaceAll(/\s+/g, ' '),
      gidMap: gidMap.trim().replaceAll(/\s+/g, ' '),
      namespaces: links,
      coreLimit: /^Max core file size +(\S+)/m.exec(limits)?.[1] ?? '',
    }
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errno(error) ?? '')) return undefined
    throw error
  }
}

export async function namespacesOf(pid: number | 'self'): Promise<NamespaceLinks> {
  const link = (name: string): Promise<string> => readlink(`/proc/${pid}/ns/${name}`)
  const [user, pids, mount, network, ipc, uts, cgroup] = await Promise.all([
    link('user'),
    link('pid'),
    link('mnt'),
    link('net'),
    link('ipc'),
    link('uts'),
    link('cgroup'),
  ])
  return { user, pid: pids, mount, network, ipc, uts, cgroup }
}

function parseStatus(
  status: string,
): Pick<ProcessFacts, 'uids' | 'gids' | 'groups' | 'capabilities' | 'noNewPrivileges' | 'seccomp'> {
  const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1] ?? ''
  const numbers = (name: string): number[] =>
    field(name)
      .split(/\s+/)
      .filter((word) => word !== '')
      .map(Number)
  const set = (name: CapabilitySet): bigint => BigInt(`0x${field(name)}`)
  return {
    uids: numbers('Uid'),
    gids: numbers('Gid'),
    groups: numbers('Groups'),
    capabilities: {
      CapBnd: set('CapBnd'),
      CapPrm: set('CapPrm'),
      CapEff: set('CapEff'),
      CapInh: set('CapInh'),
      CapAmb: set('CapAmb'),
    },
    noNewPrivileges: field('NoNewPrivs') === '1',
    seccomp: Number(field('Seccomp')),
  }
}

function proc(pid: number, name: string): Promise<string> {
  return readFile(`/proc/${pid}/${name}`, 'utf8')
}
