import { inside } from '../driver.ts'
import type { SandboxSpec } from '../driver.ts'
import { CGROUP_PARENT } from './cgroup.ts'
import type { Controller } from './cgroup.ts'
import { ROOT_MOUNT_POINT } from './layout.ts'
import { seccompProfile } from './seccomp.ts'
import { UIDS_PER_SLOT } from './uid-slots.ts'
import { words } from './words.ts'

/** What `config.json` is made from. */
export interface BundleInput {
  readonly spec: SandboxSpec
  readonly uidBase: number
  /** Host paths. */
  readonly dir: string
  readonly emptyDir: string
  readonly init: string
  readonly node: string
  readonly claude: string
  readonly runner: string
  readonly archiver: string
  /** Options of Node, before the runner's path. */
  readonly nodeFlags: readonly string[]
  /** The process's own hard limit of open files: nobody may be given more. */
  readonly hardFiles: number
  readonly arch: string
  /** Which of them this machine enforces. */
  readonly limits: Readonly<Record<Controller, boolean>>
  readonly swapLimit: boolean
  readonly cgroupV2: boolean
}

/** Where catatonit stands inside; on the host's /usr, or bound there for an image. */
const INIT = '/opt/berth/init'

/** What the runner needs to run agents under other uids and to end them. Agents lose them by the change of uid. */
const runnerCapabilities = ['CAP_SETUID', 'CAP_SETGID', 'CAP_KILL']
/** The same, as the kernel shows them. */
export const runnerCapabilityMask = 0xe0n

export const namespaces = ['user', 'pid', 'mount', 'network', 'ipc', 'uts', 'cgroup'] as const

/**
 * Bytes. With 1 the kernel writes no core file, and gives no core to a program of the host either: where the host's `core_pattern` names one, 0 would
 * not keep a crash in a sandbox from starting it, as the host's root.
 */
const CORE_LIMIT = 1
const CPU_PERIOD_US = 100_000
const SHM_BYTES = 64 * 1024 * 1024

const maskedPaths = words(`
  acpi asound cmdline config.gz diskstats interrupts iomem ioports kallsyms kcore key-users keys kmsg latency_stats modules mtrr
  pagetypeinfo partitions sched_debug scsi slabinfo timer_list timer_stats vmallocinfo zoneinfo
`).map((name) => `/proc/${name}`)
const readonlyPaths = words('bus driver fs irq sys sysrq-trigger tty').map((name) => `/proc/${name}`)

/** The OCI runtime configuration of one sandbox. */
export function ociConfig(input: BundleInput): Record<string, unknown> {
  const mapping = [{ containerID: 0, hostID: input.uidBase, size: UIDS_PER_SLOT }]
  return {
    ociVersion: '1.0.2',
    hostname: 'sandbox',
    root: { path: ROOT_MOUNT_POINT, readonly: true },
    process: processOf(input),
    mounts: mountsOf(input),
    linux: {
      uidMappings: mapping,
      gidMappings: mapping,
      namespaces: namespaces.map((type) => ({ type })),
      cgroupsPath: `/${CGROUP_PARENT}/${input.spec.id}`,
      resources: resourcesOf(input),
      rootfsPropagation: 'private',
      seccomp: seccompProfile(input.arch),
      maskedPaths,
      readonlyPaths,
    },
  }
}

function processOf(input: BundleInput): Record<string, unknown> {
  const env = { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/', ...input.spec.env }
  const files = Math.min(input.spec.limits.files, input.hardFiles)
  return {
    terminal: false,
    user: { uid: 0, gid: 0, umask: 0o022 },
    // catatonit reaps orphans, which Node as process 1 would not.
    args: [INIT, '--', inside.node, ...input.nodeFlags, inside.runner],
    env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    cwd: '/',
    capabilities: {
      bounding: runnerCapabilities,
      effective: runnerCapabilities,
      permitted: runnerCapabilities,
      inheritable: [],
      ambient: [],
    },
    noNewPrivileges: true,
    rlimits: [
      { type: 'RLIMIT_NOFILE', soft: files, hard: files },
      { type: 'RLIMIT_CORE', soft: CORE_LIMIT, hard: CORE_LIMIT },
    ],
    // When the machine as a whole is out of memory, a sandbox goes before the server.
    oomScoreAdj: 500,
  }
}

type Mount = Readonly<Record<'destination' | 'type' | 'source', string> & { options: readonly string[] }>

function mountsOf(input: BundleInput): Mount[] {
  const tmpBytes = Math.floor(input.spec.limits.memoryBytes / 2)
  const disk = ['rw', 'nosuid', 'nodev', 'noatime']
  const fromHost = ['ro', 'nosuid', 'nodev']
  return [
    // An agent sees its own processes alone; the runner's group sees all.
    {
      destination: '/proc',
      type: 'proc',
      source: 'proc',
      options: ['nosuid', 'noexec', 'nodev', 'hidepid=2', 'gid=0'],
    },
    tmpfs('/dev', ['nosuid', 'noexec', 'mode=755', 'size=64k', 'nr_inodes=64']),
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
    },
    tmpfs('/dev/shm', [
      'nosuid',
      'nodev',
      'noexec',
      'mode=1777',
      `size=${Math.min(SHM_BYTES, tmpBytes)}`,
      'nr_inodes=4096',
    ]),
    tmpfs('/tmp', ['nosuid', 'nodev', 'mode=1777', `size=${tmpBytes}`, `nr_inodes=${inodes(tmpBytes)}`]),
    ...(input.spec.image === null
      ? [bind('/usr', '/usr', fromHost), bind(input.emptyDir, '/usr/local', [...fromHost, 'noexec'])]
      : []),
    bind(`${input.dir}/disk/workspace`, inside.workspace, disk),
    bind(`${input.dir}/disk/home`, inside.home, disk),
    bind(`${input.dir}/disk/outputs`, inside.outputs, disk),
    bind(`${input.dir}/run`, inside.run, [...fromHost, 'noexec']),
    bind(input.init, INIT, fromHost),
    bind(input.node, inside.node, fromHost),
    bind(input.claude, inside.claude, fromHost),
    bind(input.runner, inside.runner, [...fromHost, 'noexec']),
    bind(input.archiver, inside.archiver, [...fromHost, 'noexec']),
  ]
}

function tmpfs(destination: string, options: readonly string[]): Mount {
  return { destination, type: 'tmpfs', source: 'tmpfs', options }
}

function bind(source: string, destination: string, options: readonly string[]): Mount {
  return { destination, type: 'bind', source, options: ['bind', ...options] }
}

/** An inode costs about 1 KiB of kernel memory: at most a quarter of what the file system may hold. */
function inodes(bytes: number): number {
  return Math.max(1024, Math.floor(bytes / 4096))
}

function resourcesOf(input: BundleInput): Record<string, unknown> {
  const { limits } = input.spec
  const memory = { limit: limits.memoryBytes, ...(input.swapLimit ? { swap: limits.memoryBytes } : {}) }
  const cpu = { period: CPU_PERIOD_US, quota: Math.max(1000, Math.round(limits.cpus * CPU_PERIOD_US)) }
  return {
    devices: [{ allow: false, access: 'rwm' }],
    ...(input.limits.memory ? { memory } : {}),
    ...(input.limits.cpu ? { cpu } : {}),
    ...(input.limits.pids ? { pids: { limit: limits.pids } } : {}),
    // Without it the kernel ends one process of many, and the sandbox goes on without knowing what it has lost.
    ...(input.cgroupV2 && input.limits.memory ? { unified: { 'memory.oom.group': '1' } } : {}),
  }
}
