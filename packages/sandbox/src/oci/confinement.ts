import { readFile, readdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { BerthError } from '@berth/protocol'
import { cgroupPids } from './cgroup.ts'
import type { Cgroups } from './cgroup.ts'
import { namespacesOf, readProcessFacts } from './process-facts.ts'
import { faultsOf } from './process-faults.ts'
import type { Bounds } from './process-faults.ts'
import { UIDS_PER_SLOT } from './uid-slots.ts'

/** A runtime says that it has started what is still becoming the sandbox's first process. Judged is what that has become, as soon as it has. */
const SETTLE_MS = 20_000
const LOOK_MS = 5
/** Below it are the first programs of every sandbox. */
const PROGRAMS = '/opt/berth/'

export interface Confined {
  readonly id: string
  readonly uidBase: number
  readonly cgroups: Cgroups
}

/**
 * Looks at the processes of a sandbox that has just been started, from the host: a runtime may have been built without what it was told to do, and
 * say nothing. Throws `unavailable`, naming the lack.
 */
export async function assertConfined(sandbox: Confined, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + SETTLE_MS
  const bounds = { uidBase: sandbox.uidBase, hostNamespaces: await namespacesOf('self') }
  for (;;) {
    const lack = await lackOf(sandbox, bounds)
    if (lack === undefined) return
    if (lack.isFinal || performance.now() > deadline)
      throw new BerthError('unavailable', `the runtime made ${sandbox.id} ${lack.what}`)
    await sleep(LOOK_MS, undefined, { signal })
  }
}

interface Lack {
  readonly what: string
  /** It will not come any more. */
  readonly isFinal: boolean
}

async function lackOf({ id, uidBase, cgroups }: Confined, bounds: Bounds): Promise<Lack | undefined> {
  const isCounted = cgroups.mounts.length > 0
  const counted = isCounted ? await cgroupPids(cgroups, id) : []
  const pids = counted.length > 0 ? counted : await pidsOfRange(uidBase)
  const lacks = await Promise.all(
    pids.map(async (pid) => {
      // Before the look at the rest: what a program lacks that has begun, it lacks for good.
      const isFinal = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).startsWith(PROGRAMS)
      const what = isCounted && counted.length === 0 ? 'without its cgroup' : await lackOfProcess(pid, bounds)
      return what === undefined ? undefined : { what, isFinal }
    }),
  )
  return lacks.find((lack) => lack?.isFinal === true) ?? lacks.find((lack) => lack !== undefined)
}

/** Undefined: it has none, or has ended. */
async function lackOfProcess(pid: number, bounds: Bounds): Promise<string | undefined> {
  const facts = await readProcessFacts(pid)
  return facts === undefined ? undefined : faultsOf(facts, bounds)[0]?.what
}

async function pidsOfRange(uidBase: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const uids = await Promise.all(
    pids.map(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
      return Number(/^Uid:\s+(\d+)/m.exec(status)?.[1])
    }),
  )
  return pids.filter((_, index) => isInRange(uids[index], uidBase))
}

function isInRange(uid: number | undefined, uidBase: number): boolean {
  return uid !== undefined && uid >= uidBase && uid < uidBase + UIDS_PER_SLOT
}
