/**
 * Programs of a few bytes that make one system call and exit with its errno: what a kernel answers can be asked without a compiler
 * in the sandbox and without libc in between. Numbers of x64 and arm64.
 */
const PER_ARCH = { x64: 0, arm64: 1 } as const
export type ProbeArch = keyof typeof PER_ARCH

export function isProbeArch(arch: string): arch is ProbeArch {
  return arch in PER_ARCH
}

type Numbers = readonly [x64: number, arm64: number]

export interface SystemCall {
  readonly name: string
  readonly number: Numbers
  readonly args: readonly (number | bigint)[]
}

const plain: Readonly<Record<string, Numbers>> = {
  acct: [163, 89],
  add_key: [248, 217],
  adjtimex: [159, 171],
  bpf: [321, 280],
  chroot: [161, 51],
  clock_adjtime: [305, 266],
  clock_settime: [227, 112],
  delete_module: [176, 106],
  fanotify_init: [300, 262],
  fanotify_mark: [301, 263],
  finit_module: [313, 273],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  get_mempolicy: [239, 236],
  kexec_file_load: [320, 294],
  lookup_dcookie: [212, 18],
  migrate_pages: [256, 238],
  name_to_handle_at: [303, 264],
  process_madvise: [440, 440],
  process_mrelease: [448, 448],
  remap_file_pages: [216, 234],
  set_mempolicy: [238, 237],
  setdomainname: [171, 162],
  swapoff: [168, 225],
  vhangup: [153, 58],
  fsopen: [430, 430],
  init_module: [175, 105],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  io_uring_setup: [425, 425],
  kcmp: [312, 272],
  kexec_load: [246, 104],
  keyctl: [250, 219],
  mbind: [237, 235],
  memfd_secret: [447, 447],
  mount: [165, 40],
  mount_setattr: [442, 442],
  move_mount: [429, 429],
  move_pages: [279, 239],
  open_by_handle_at: [304, 265],
  open_tree: [428, 428],
  perf_event_open: [298, 241],
  pidfd_getfd: [438, 438],
  pivot_root: [155, 41],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  ptrace: [101, 117],
  quotactl: [179, 60],
  reboot: [169, 142],
  request_key: [249, 218],
  sethostname: [170, 161],
  setns: [308, 268],
  settimeofday: [164, 170],
  swapon: [167, 224],
  syslog: [103, 116],
  umount2: [166, 39],
  unshare: [272, 97],
  userfaultfd: [323, 282],
  vmsplice: [278, 75],
}

const SIGCHLD = 17n
const CLONE: Numbers = [56, 220]
const SOCKET: Numbers = [41, 198]
const PERSONALITY: Numbers = [135, 92]
const STREAM = 1
const RAW = 3
/** Bits that the kernel does not look at, by which a filter that compares all of a register might be fooled. */
const HIGH = 1n << 32n

const namespaces = {
  cgroup: 0x0200_0000n,
  uts: 0x0400_0000n,
  ipc: 0x0800_0000n,
  user: 0x1000_0000n,
  pid: 0x2000_0000n,
  net: 0x4000_0000n,
  mnt: 0x2_0000n,
}

const sockets: Readonly<Record<string, readonly (number | bigint)[]>> = {
  alg: [38, 5, 0],
  alg_high: [38n | HIGH, 5, 0],
  bluetooth: [31, STREAM, 0],
  inet_icmp: [2, 2, 1],
  inet_raw: [2, RAW, 255],
  inet_sctp: [2, STREAM, 132],
  key: [15, RAW, 2],
  netlink_netfilter: [16, RAW, 12],
  netlink_uevent: [16, RAW, 15],
  packet: [17, RAW, 0],
  rds: [21, 5, 0],
  smc: [43, STREAM, 0],
  tipc: [30, STREAM, 0],
  unix_high: [1n | HIGH, STREAM, 0],
  vsock: [40, STREAM, 0],
  vsock_high: [40n | HIGH, STREAM, 0],
  xdp: [44, RAW, 0],
}

/** Calls that nobody in a sandbox may make: each must answer EPERM. */
export const refusedCalls: readonly SystemCall[] = [
  ...Object.entries(plain).map(([name, number]) => ({ name, number, args: [] })),
  ...Object.entries(namespaces).map(([name, flag]) => ({
    name: `clone:${name}`,
    number: CLONE,
    args: [flag | SIGCHLD],
  })),
  ...Object.entries(sockets).map(([name, args]) => ({ name: `socket:${name}`, number: SOCKET, args })),
  // By another spelling of the resource, which for the kernel is the same.
  { name: 'setrlimit:core_high', number: [160, 164], args: [4n | HIGH, 0] },
  { name: 'prlimit64:core_high', number: [302, 261], args: [0, 4n | HIGH, 1] },
  { name: 'personality:read_implies_exec', number: PERSONALITY, args: [0x0040_0000] },
]

/**
 * Numbers that had no call when the list of allowed ones was made: what a newer kernel has there is not allowed by chance. Each must answer
 * EPERM or ENOSYS.
 */
export const unknownCalls: readonly SystemCall[] = Array.from({ length: 49 }, (_, index) => 463 + index).map(
  (number) => ({ name: `number ${number}`, number: [number, number], args: [] }),
)

/** Anybody may make it: shows that the programs run at all. */
export const allowedCall: SystemCall = { name: 'getppid', number: [110, 173], args: [] }

/** Must look as if the kernel did not have it (ENOSYS): its flags cannot be judged. */
export const absentCall: SystemCall = { name: 'clone3', number: [435, 435], args: [] }

/** Asks for the pid by the numbers of the x32 entry. */
export const x32Call: SystemCall = { name: 'getpid:x32', number: [0x4000_0027, 172], args: [] }

/** An executable for Linux that exits with the call's errno, or 0 when the call succeeds. */
export function callProgram(call: SystemCall, arch: ProbeArch): Buffer {
  const number = call.number[PER_ARCH[arch]]
  return elf(arch, arch === 'x64' ? x64Code(number, call.args) : arm64Code(number, call.args))
}

/** Asks the 32-bit entry of an x64 kernel for its pid, then exits with 0. */
export function int80Program(): Buffer {
  return elf('x64', Buffer.from('b814000000cd8031ffb83c0000000f05', 'hex'))
}

function x64Code(number: number, args: readonly (number | bigint)[]): Buffer {
  const load = ['48b8', '48bf', '48be', '48ba', '49ba', '49b8', '49b9']
  const parts = [number, ...args].flatMap((value, index) => [Buffer.from(load[index] ?? '', 'hex'), little64(value)])
  // syscall; test eax,eax; js over the next; xor eax,eax; neg eax; mov edi,eax; mov eax,60; syscall
  return Buffer.concat([...parts, Buffer.from('0f0585c0780231c0f7d889c7b83c0000000f05', 'hex')])
}

function arm64Code(number: number, args: readonly (number | bigint)[]): Buffer {
  const words = [...args.flatMap((value, register) => arm64Load(register, value)), ...arm64Load(8, number)]
  // svc 0; cmp x0,0; csel x0,x0,xzr,lt; neg x0,x0; mov x8,93; svc 0
  words.push(0xd400_0001, 0xf100_001f, 0x9a9f_b000, 0xcb00_03e0, 0xd280_0ba8, 0xd400_0001)
  const code = Buffer.alloc(words.length * 4)
  words.forEach((word, index) => code.writeUInt32LE(word, index * 4))
  return code
}

function arm64Load(register: number, value: number | bigint): number[] {
  return [0, 1, 2, 3].map((half) => {
    const bits = Number((BigInt(value) >> BigInt(16 * half)) & 0xffffn)
    const operation = half === 0 ? 0xd280_0000 : 0xf280_0000
    return (operation | (half << 21) | (bits << 5) | register) >>> 0
  })
}

function little64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

/** A static executable of one segment: header, program header, code. */
function elf(arch: ProbeArch, code: Buffer): Buffer {
  const base = 0x40_0000n
  const headers = Buffer.alloc(120)
  Buffer.from('7f454c46020101', 'hex').copy(headers)
  headers.writeUInt16LE(2, 16)
  headers.writeUInt16LE(arch === 'x64' ? 62 : 183, 18)
  headers.writeUInt32LE(1, 20)
  headers.writeBigUInt64LE(base + 120n, 24)
  headers.writeBigUInt64LE(64n, 32)
  headers.writeUInt16LE(64, 52)
  headers.writeUInt16LE(56, 54)
  headers.writeUInt16LE(1, 56)
  headers.writeUInt32LE(1, 64)
  headers.writeUInt32LE(5, 68)
  headers.writeBigUInt64LE(base, 80)
  headers.writeBigUInt64LE(base, 88)
  headers.writeBigUInt64LE(BigInt(120 + code.length), 96)
  headers.writeBigUInt64LE(BigInt(120 + code.length), 104)
  headers.writeBigUInt64LE(4096n, 112)
  return Buffer.concat([headers, code])
}
