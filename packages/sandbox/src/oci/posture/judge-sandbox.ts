import type { Finding, SandboxLimits } from '../../driver.ts'
import { fail, ok, warn } from '../../finding.ts'
import type { Cgroups } from '../cgroup.ts'
import { UIDS_PER_SLOT } from '../uid-slots.ts'
import type { SandboxName } from './names.ts'
import type { MountFacts, NamespaceKind, ProcessFacts, SandboxFacts } from './sandbox-facts.ts'

/** What is to be judged: facts that the host's kernel gave of one sandbox, and what they are held against. */
export interface Observed {
  readonly facts: SandboxFacts
  /** First uid of its range on the host. */
  readonly uidBase: number
  readonly hostNamespaces: Readonly<Record<NamespaceKind, string>>
  readonly limits: SandboxLimits
  readonly cgroups: Pick<Cgroups, 'version' | 'swapLimit' | 'has'>
  /** How the sandbox's calls ended that it must not make, by name; `SIGSYS` for the 32-bit entry. */
  readonly attempts: Readonly<Record<string, string>>
}

const REMEDY = 'run no agents on this machine; please report it (SECURITY.md)'
/** CAP_KILL, CAP_SETGID, CAP_SETUID: over the sandbox's own users, for the runner alone. */
const RUNNER_CAPABILITIES = 0xe0n
const EPERM = '1'

/** One finding for each of `sandboxNames`, in their order. */
export function judgeSandbox(observed: Observed): Finding[] {
  return [
    users(observed),
    rights(observed),
    systemCalls(observed),
    namespaces(observed),
    network(observed),
    mounts(observed),
    limits(observed),
  ]
}

function verdict(what: SandboxName, faults: readonly string[], detail: string): Finding {
  return faults.length === 0 ? ok(what, detail) : fail(what, faults.join('; '), REMEDY)
}

function users({ facts, uidBase }: Observed): Finding {
  const end = uidBase + UIDS_PER_SLOT
  const map = `0 ${uidBase} ${UIDS_PER_SLOT}`
  const faults = uidBase < UIDS_PER_SLOT ? [`its range begins at ${uidBase}`] : []
  for (const { pid, uids, gids, groups, uidMap, gidMap } of facts.processes) {
    const strange = [...uids, ...gids, ...groups].filter((id) => id < uidBase || id >= end)
    if (strange.length > 0) faults.push(`process ${pid} has ids ${strange.join(', ')} of the host`)
    if (uidMap !== map || gidMap !== map) faults.push(`process ${pid} maps users ${uidMap}, groups ${gidMap}`)
  }
  return verdict(
    'sandbox users',
    faults,
    `${facts.processes.length} processes, on the host all of users ${uidBase} to ${end - 1}; root is none of them`,
  )
}

function rights({ facts, uidBase }: Observed): Finding {
  const faults = facts.processes.flatMap((process) => rightsOf(process, uidBase))
  const agents = facts.processes.filter(({ uids }) => uids[0] !== uidBase)
  if (agents.length === 0) faults.push('no process of an agent was there to look at')
  return verdict(
    'sandbox rights',
    faults,
    'agents have no capability and cannot get one; the runner has setuid, setgid and kill over their users',
  )
}

function rightsOf({ pid, uids, capabilities, noNewPrivileges }: ProcessFacts, uidBase: number): string[] {
  const { CapInh, CapPrm, CapEff, CapBnd, CapAmb } = capabilities
  const allowed = uids[0] === uidBase ? RUNNER_CAPABILITIES : 0n
  const faults = noNewPrivileges ? [] : [`process ${pid} may gain privileges`]
  if (((CapInh | CapPrm | CapEff | CapAmb) & ~allowed) !== 0n || (CapBnd & ~RUNNER_CAPABILITIES) !== 0n) {
    faults.push(`process ${pid} has capabilities ${CapEff.toString(16)} of ${CapBnd.toString(16)}`)
  }
  return faults
}

function systemCalls({ facts, attempts }: Observed): Finding {
  const what: SandboxName = 'sandbox system calls'
  const bare = facts.processes.filter(({ seccomp }) => seccomp !== 2).map(({ pid }) => `process ${pid} has no filter`)
  const tried = Object.entries(attempts)
  const passed = tried.filter(([name, end]) => end !== (name === 'int80' ? 'SIGSYS' : EPERM))
  const faults = [...bare, ...passed.map(([name, end]) => `${name} was not refused (${end})`)]
  if (tried.length === 0) faults.push('none could be tried')
  return verdict(
    what,
    faults,
    `a filter on every process; ${tried.length} calls tried and refused: AF_ALG, AF_VSOCK, bpf, io_uring, mounts and new namespaces among them`,
  )
}

function namespaces({ facts, hostNamespaces }: Observed): Finding {
  const kinds = Object.entries(hostNamespaces)
  const faults = facts.processes.flatMap((process) => {
    const own = new Map<string, string>(Object.entries(process.namespaces))
    return kinds
      .filter(([kind, link]) => own.get(kind) === link)
      .map(([kind]) => `process ${process.pid} is in the host’s ${kind} namespace`)
  })
  return verdict('sandbox namespaces', faults, `its own: ${kinds.map(([kind]) => kind).join(', ')}`)
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
