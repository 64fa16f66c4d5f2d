import { BerthError } from '@berth/protocol'
import { absentSyscalls, allowedSyscalls, x64Syscalls } from './seccomp-syscalls.ts'

/** `linux.seccomp` of the OCI runtime specification, as far as this profile needs it. */
export interface SeccompProfile {
  readonly defaultAction: 'SCMP_ACT_ERRNO'
  readonly defaultErrnoRet: number
  readonly architectures: readonly string[]
  readonly syscalls: readonly SeccompRule[]
}

export interface SeccompRule {
  readonly names: readonly string[]
  readonly action: 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO'
  readonly errnoRet?: number
  readonly args?: readonly SeccompArg[]
}

/** `SCMP_CMP_EQ`: argument = value; `SCMP_CMP_NE`: not. `SCMP_CMP_MASKED_EQ`: argument & value = valueTwo. All arguments of a rule must hold. */
export interface SeccompArg {
  readonly index: number
  readonly value: number
  readonly valueTwo?: number
  readonly op: 'SCMP_CMP_EQ' | 'SCMP_CMP_NE' | 'SCMP_CMP_MASKED_EQ'
}

const EPERM = 1
const ENOSYS = 38

/** Every CLONE_NEW* flag that clone(2) takes: cgroup, uts, ipc, user, pid, net, mount. */
export const CLONE_NAMESPACES = 0x7e02_0000

const AF_UNIX = 1
const AF_INET = 2
const AF_INET6 = 10
const AF_NETLINK = 16
const NETLINK_ROUTE = 0
/** 0 leaves the choice to the type. No SCTP, MPTCP, ICMP: less of the kernel to reach. */
const internetProtocols = { any: 0, tcp: 6, udp: 17 } as const

/** Resources of setrlimit(2), RLIMIT_CORE being 4. */
const RLIMITS = 16
const RLIMIT_CORE = 4
const PRETENDED = 0

/** personality(2): Linux as it is, and the question what it is. */
const personalities = [0, 0xffff_ffff] as const

/**
 * The profile for this machine. Only the native architecture is in it: a 32-bit or x32 call kills its process, because through
 * those every rule about arguments could be walked around.
 */
export function seccompProfile(arch: string): SeccompProfile {
  const native = nativeArchitecture(arch)
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: EPERM,
    architectures: [native.name],
    syscalls: [
      allow([...Object.values(allowedSyscalls).flat(), ...native.syscalls]),
      { names: absentSyscalls, action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
      allow(['clone'], { index: 0, op: 'SCMP_CMP_MASKED_EQ', value: CLONE_NAMESPACES, valueTwo: 0 }),
      ...socketRules(),
      ...limitRules(),
      ...personalities.map((value) => allow(['personality'], equal(0, value))),
    ],
  }
}

function nativeArchitecture(arch: string): { name: string; syscalls: readonly string[] } {
  if (arch === 'x64') return { name: 'SCMP_ARCH_X86_64', syscalls: x64Syscalls }
  if (arch === 'arm64') return { name: 'SCMP_ARCH_AARCH64', syscalls: [] }
  throw new BerthError('unavailable', `no seccomp profile for the architecture ${arch}; x64 and arm64 have one`)
}

function socketRules(): SeccompRule[] {
  const internet = [AF_INET, AF_INET6].flatMap((family) =>
    Object.values(internetProtocols).map((protocol) => allow(['socket'], equal(0, family), equal(2, protocol))),
  )
  return [
    allow(['socket', 'socketpair'], equal(0, AF_UNIX)),
    ...internet,
    allow(['socket'], equal(0, AF_NETLINK), equal(2, NETLINK_ROUTE)),
  ]
}

/**
 * Nobody changes the limit of core files, by which a crash starts no program of the host. Programs that want none are told that it is done: it is so
 * already. The others are named one by one: the kernel looks at half of the register only.
 */
function limitRules(): SeccompRule[] {
  const others = Array.from({ length: RLIMITS }, (_, resource) => resource).filter((one) => one !== RLIMIT_CORE)
  const pretend = (name: string, ...args: SeccompArg[]): SeccompRule => {
    return { names: [name], action: 'SCMP_ACT_ERRNO', errnoRet: PRETENDED, args }
  }
  return [
    ...others.map((resource) => allow(['setrlimit'], equal(0, resource))),
    pretend('setrlimit', equal(0, RLIMIT_CORE)),
    ...others.map((resource) => allow(['prlimit64'], equal(1, resource))),
    // Asking changes nothing.
    allow(['prlimit64'], equal(1, RLIMIT_CORE), equal(2, 0)),
    pretend('prlimit64', equal(1, RLIMIT_CORE), { index: 2, value: 0, op: 'SCMP_CMP_NE' }),
  ]
}

function allow(names: readonly string[], ...args: readonly SeccompArg[]): SeccompRule {
  return args.length === 0 ? { names, action: 'SCMP_ACT_ALLOW' } : { names, action: 'SCMP_ACT_ALLOW', args }
}

function equal(index: number, value: number): SeccompArg {
  return { index, op: 'SCMP_CMP_EQ', value }
}
