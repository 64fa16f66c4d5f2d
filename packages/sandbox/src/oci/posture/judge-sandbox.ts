import type { Finding, SandboxLimits } from '../../driver.ts'
import { fail, ok, warn } from '../../finding.ts'
import { namespaces } from '../bundle.ts'
import type { Cgroups } from '../cgroup.ts'
import { faultsOf } from '../process-faults.ts'
import type { Bounds, Fault } from '../process-faults.ts'
import { UIDS_PER_SLOT } from '../uid-slots.ts'
import type { SandboxName } from './names.ts'
import type { MountFacts, SandboxFacts } from './sandbox-facts.ts'

/** What is to be judged: facts that the host's kernel gave of one sandbox, and what they are held against. */
export interface Observed extends Bounds {
  readonly facts: SandboxFacts
  readonly limits: SandboxLimits
  readonly cgroups: Pick<Cgroups, 'version' | 'swapLimit' | 'has'>
  /** How the sandbox's calls ended that it must not make, by name; `SIGSYS` for the 32-bit entry. */
  readonly attempts: Readonly<Record<string, string>>
}

const REMEDY = 'run no agents on this machine; please report it (SECURITY.md)'
const EPERM = '1'

/** One finding for each of `sandboxNames`, in their order. */
export function judgeSandbox(observed: Observed): Finding[] {
  return [
    users(observed),
    rights(observed),
    systemCalls(observed),
    ownNamespaces(observed),
    network(observed),
    mounts(observed),
    limits(observed),
  ]
}

function verdict(what: SandboxName, faults: readonly string[], detail: string): Finding {
  return faults.length === 0 ? ok(what, detail) : fail(what, faults.join('; '), REMEDY)
}

/** What the processes are not to be, each named. */
function faultsOfAll(observed: Observed, of: Fault['of']): string[] {
  return observed.facts.processes.flatMap((process) =>
    faultsOf(process, observed)
      .filter((fault) => fault.of === of)
      .map(({ what }) => `process ${process.pid} is ${what}`),
  )
}

function users(observed: Observed): Finding {
  const { facts, uidBase } = observed
  const faults = uidBase < UIDS_PER_SLOT ? [`its range begins at ${uidBase}`] : []
  return verdict(
    'sandbox users',
    [...faults, ...faultsOfAll(observed, 'users')],
    `${facts.processes.length} processes, on the host all of users ${uidBase} to ${uidBase + UIDS_PER_SLOT - 1}; root is none of them`,
  )
}

function rights(observed: Observed): Finding {
  const faults = faultsOfAll(observed, 'rights')
  const agents = observed.facts.processes.filter(({ uids }) => uids[0] !== observed.uidBase)
  if (agents.length === 0) faults.push('no process of an agent was there to look at')
  return verdict(
    'sandbox rights',
    faults,
    'agents have no capability and cannot get one; the runner has setuid, setgid and kill over their users',
  )
}

function systemCalls(observed: Observed): Finding {
  const tried = Object.entries(observed.attempts)
  const passed = tried.filter(([name, end]) => end !== (name === 'int80' ? 'SIGSYS' : EPERM))
  const faults = [
    ...faultsOfAll(observed, 'system calls'),
    ...passed.map(([name, end]) => `${name} was not refused (${end})`),
  ]
  if (tried.length === 0) faults.push('none could be tried')
  return verdict(
    'sandbox system calls',
    faults,
    `a filter on every process; ${tried.length} calls tried and refused: AF_ALG, AF_VSOCK, bpf, io_uring, mounts and new namespaces among them`,
  )
}

function ownNamespaces(observed: Observed): Finding {
  return verdict('sandbox namespaces', faultsOfAll(observed, 'namespaces'), `its own: ${namespaces.join(', ')}`)
}

function network({ facts: { interfaces, routes } }: Observed): Finding {
  const faults = interfaces.filter((name) => name !== 'lo').map((name) => `it has the interface ${name}`)
  if (routes.length > 0) faults.push(`it has ${routes.length} routes`)
  return verdict('sandbox network', faults, 'loopback alone, and no route')
}

function mounts({ facts }: Observed): Finding {
  const writable = facts.mounts.filter(({ options }) => options.includes('rw'))
  const faults = [
    ...writable.filter(({ at }) => at === '/').map(() => 'its root file system can be written'),
    ...writable
      .filter((mount) => !mount.options.includes('nosuid') && !isDevice(mount))
      .map(({ at }) => `setuid programs would work in ${at}`),
    ...facts.mounts.filter(({ type }) => /^cgroup2?$/.test(type)).map(({ at }) => `the host’s cgroups are at ${at}`),
  ]
  const places = writable
    .filter(({ type, at }) => type !== 'proc' && !/^\/(?:proc|dev)(?:\/|$)/.test(at))
    .map(({ at }) => at)
  return verdict(
    'sandbox mounts',
    faults,
    `all read-only but ${places.toSorted().join(', ')}, where setuid programs do not work`,
  )
}

/** A device of the host bound on its own: of /dev, or /dev/null over a masked file. */
function isDevice({ root, at }: MountFacts): boolean {
  return at.startsWith('/dev/') || root === '/null'
}

function limits({ facts, limits: wanted, cgroups }: Observed): Finding {
  const what: SandboxName = 'sandbox limits'
  const found = facts.limits
  const memory = found['memory.max'] ?? found['memory.limit_in_bytes']
  const pids = found['pids.max']
  const cpu = found['cpu.max'] ?? found['cpu.cfs_quota_us']
  const missing = [
    ...(Number(memory) === wanted.memoryBytes ? [] : [`memory (${memory ?? 'not counted'})`]),
    ...(Number(pids) === wanted.pids ? [] : [`processes (${pids ?? 'not counted'})`]),
    ...(Number.parseInt(cpu ?? '', 10) > 0 ? [] : [`CPU (${cpu ?? 'not counted'})`]),
  ]
  const cores = facts.processes
    // With 1 the kernel writes none either, and starts no program of the host for one.
    .filter(({ coreLimit }) => coreLimit !== '1')
    .map(({ pid }) => `process ${pid} may dump core`)
  const mode = `cgroup ${cgroups.version}`
  if (missing.length > 0 || cores.length > 0) {
    const lines = [...(missing.length === 0 ? [] : [`without effect: ${missing.join(', ')}`]), ...cores]
    return fail(what, `${mode}: ${lines.join('; ')}`, 'berth doctor says which controller is missing')
  }
  const detail = `${mode}: memory, CPU and processes as asked for; no core dumps`
  const swap = found['memory.swap.max'] ?? found['memory.memsw.limit_in_bytes']
  if (swap === undefined) return warn(what, `${detail}; swap is not counted`, 'boot with swapaccount=1, or swapoff -a')
  return ok(what, `${detail}; no swap`)
}
