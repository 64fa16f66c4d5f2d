import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CGROUP_PARENT, cgroupPids } from '../cgroup.ts'
import type { Cgroups } from '../cgroup.ts'
import { readProcessFacts } from '../process-facts.ts'
import type { ProcessFacts } from '../process-facts.ts'

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
    processes: processes.filter((one) => one !== undefined),
    mounts: linesOf(mounts).map(parseMount),
    interfaces: linesOf(dev)
      .slice(2)
      .map((line) => line.split(':')[0]?.trim() ?? ''),
    routes: [...linesOf(route).slice(1), ...linesOf(route6).filter((line) => !line.endsWith(' lo'))],
    limits,
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
