import { namespaces, runnerCapabilityMask } from './bundle.ts'
import type { NamespaceLinks, ProcessFacts } from './process-facts.ts'
import { UIDS_PER_SLOT } from './uid-slots.ts'

/** What a process of a sandbox is held against. */
export interface Bounds {
  /** First uid of the sandbox's range on the host: that of the runner. */
  readonly uidBase: number
  readonly hostNamespaces: NamespaceLinks
}

export interface Fault {
  readonly of: 'users' | 'rights' | 'system calls' | 'namespaces'
  /** Goes on from "it was made" and from "process 12 is". */
  readonly what: string
}

const FILTER = 2

/** What it has that nothing in a sandbox may have, and what it lacks. None: it is confined. */
export function faultsOf(process: ProcessFacts, bounds: Bounds): Fault[] {
  return [
    ...userFaults(process, bounds).map((what) => ({ of: 'users' as const, what })),
    ...(process.seccomp === FILTER ? [] : [{ of: 'system calls' as const, what: 'without a seccomp filter' }]),
    ...rightFaults(process, bounds).map((what) => ({ of: 'rights' as const, what })),
    ...namespaces
      .filter((kind) => process.namespaces[kind] === bounds.hostNamespaces[kind])
      .map((kind) => ({ of: 'namespaces' as const, what: `without a ${kind} namespace of its own` })),
  ]
}

function userFaults({ uids, gids, groups, uidMap, gidMap }: ProcessFacts, { uidBase }: Bounds): string[] {
  const map = `0 ${uidBase} ${UIDS_PER_SLOT}`
  const isForeign = (id: number): boolean => id < uidBase || id >= uidBase + UIDS_PER_SLOT
  const [users, all] = [uids.filter(isForeign), [...gids, ...groups].filter(isForeign)]
  return [
    ...(users.length === 0 ? [] : [`with the host’s users ${users.join(', ')}`]),
    ...(all.length === 0 ? [] : [`with the host’s groups ${all.join(', ')}`]),
    ...(uidMap === map ? [] : [`with users mapped as ${uidMap}`]),
    ...(gidMap === map ? [] : [`with groups mapped as ${gidMap}`]),
  ]
}

function rightFaults({ uids, capabilities, noNewPrivileges }: ProcessFacts, { uidBase }: Bounds): string[] {
  const { CapBnd, ...held } = capabilities
  // Agents lose the runner's by the change of uid, and can get none back.
  const allowed = uids[0] === uidBase ? runnerCapabilityMask : 0n
  const over = [
    ...((CapBnd & ~runnerCapabilityMask) === 0n ? [] : [['CapBnd', CapBnd] as const]),
    ...Object.entries(held).filter(([, set]) => (set & ~allowed) !== 0n),
  ]
  return [
    ...(noNewPrivileges ? [] : ['with a way to new privileges']),
    ...over.map(([name, set]) => `with the capabilities ${name} ${set.toString(16)}`),
  ]
}
