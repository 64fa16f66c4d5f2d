import { constants } from 'node:fs'
import { access, readFile, readlink, statfs } from 'node:fs/promises'
import { release } from 'node:os'
import { join } from 'node:path'
import type { Finding } from '../driver.ts'
import { fail, ok, warn } from '../finding.ts'
import { controllers, readCgroups } from './cgroup.ts'
import type { Cgroups } from './cgroup.ts'
import { longestSocketPath, SOCKET_PATH_MAX } from './layout.ts'
import { missingRuntime } from './machine.ts'
import type { Settings } from './options.ts'
import { findProgram, findRuntime, isExecutable } from './runtime.ts'
import { shimScript } from './shim.ts'

const GIB = 1024 ** 3

/** Programs besides the runtime, each with the Debian package that has it. */
const programs = {
  bash: 'bash',
  catatonit: 'catatonit',
  e2fsck: 'e2fsprogs',
  flock: 'util-linux',
  'mkfs.ext4': 'e2fsprogs',
  mount: 'mount',
  unshare: 'util-linux',
}

/** Everything that `create` relies on, looked at without changing any of it. */
export async function checkMachine(settings: Settings, stateDir: string, signal?: AbortSignal): Promise<Finding[]> {
  const cgroups = await readCgroups()
  const checks = [
    checkKernel(),
    checkRuntime(settings.runtime),
    ...Object.entries(programs).map(([name, packageName]) => checkProgram(name, packageName)),
    checkLoopDevices(),
    checkSwap(cgroups),
    checkUserNamespaces(),
    checkSeccomp(),
    checkUsr(),
    checkDisk(stateDir),
    ...Object.entries({ node: settings.node, claude: settings.claude }).map(([name, path]) => checkBinary(name, path)),
    checkReadable('runner', settings.runner),
    checkReadable('archiver', settings.archiver),
    checkReadable('sandbox shim', shimScript),
  ]
  const findings = await Promise.all(checks)
  signal?.throwIfAborted()
  return [checkRoot(), checkSocketPaths(stateDir), ...checkLimits(cgroups, settings), ...findings]
}

function checkRoot(): Finding {
  const uid = process.getuid?.()
  return uid === 0
    ? ok('root', 'running as root')
    : fail(
        'root',
        `running as uid ${uid}`,
        'run as root: loop mounts, uid ranges and cgroups need it; agents never run as root',
      )
}

function checkSocketPaths(stateDir: string): Finding {
  const longest = longestSocketPath(stateDir)
  return longest <= SOCKET_PATH_MAX
    ? ok('socket paths', `the longest has ${longest} of ${SOCKET_PATH_MAX} characters`)
    : fail('socket paths', `below ${stateDir} they reach ${longest} characters`, 'use a shorter data directory')
}

async function checkKernel(): Promise<Finding> {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const arch = process.arch === 'x64' || process.arch === 'arm64'
  if (!arch) return fail('kernel', `architecture ${process.arch}`, 'use an x64 or arm64 machine')
  return major > 5 || (major === 5 && minor >= 10)
    ? ok('kernel', `${release()} on ${process.arch}`)
    : fail('kernel', release(), 'use Linux 5.10 or later')
}

async function checkRuntime(wanted: string): Promise<Finding> {
  const runtime = await findRuntime(wanted)
  return runtime === undefined
    ? fail('OCI runtime', missingRuntime(wanted), 'apt-get install -y crun')
    : ok('OCI runtime', `${runtime.name} ${runtime.version} (${runtime.path})`)
}

async function checkProgram(name: string, packageName: string): Promise<Finding> {
  const path = await findProgram(name)
  return path === undefined ? fail(name, 'is not installed', `apt-get install -y ${packageName}`) : ok(name, path)
}

async function checkLoopDevices(): Promise<Finding> {
  const control = await access('/dev/loop-control', constants.W_OK)
    .then(() => true)
    .catch(() => false)
  return control
    ? ok('loop devices', '/dev/loop-control is there')
    : fail('loop devices', '/dev/loop-control cannot be used', 'modprobe loop; in a container, pass the host its /dev')
}

function checkLimits(cgroups: Cgroups, settings: Settings): Finding[] {
  return controllers.map((name): Finding => {
    const what = `cgroup ${name} limit`
    if (cgroups.has[name]) return ok(what, `cgroup ${cgroups.version}`)
    const detail = `no controller ${name} (cgroup ${cgroups.version})`
    const remedy = `enable it: in cgroup v2 echo +${name} > /sys/fs/cgroup/cgroup.subtree_control, in v1 mount it`
    const waived = settings.withoutLimits.includes(name)
    return waived ? warn(what, `${detail}; sandboxes run without`, remedy) : fail(what, detail, remedy)
  })
}

async function checkSwap(cgroups: Cgroups): Promise<Finding> {
  const devices = (await readFile('/proc/swaps', 'utf8').catch(() => '')).trim().split('\n').length - 1
  if (cgroups.swapLimit || devices < 1) return ok('swap limit', 'sandboxes use no swap')
  const detail = 'this kernel does not count swap by cgroup, and there is swap'
  return warn('swap limit', detail, 'boot with swapaccount=1, or swapoff -a')
}

async function checkUserNamespaces(): Promise<Finding> {
  const max = Number(await readFile('/proc/sys/user/max_user_namespaces', 'utf8').catch(() => '0'))
  return max > 0
    ? ok('user namespaces', `at most ${max}`)
    : fail('user namespaces', 'this kernel allows none', 'sysctl -w user.max_user_namespaces=10000')
}

async function checkSeccomp(): Promise<Finding> {
  const actions = await readFile('/proc/sys/kernel/seccomp/actions_avail', 'utf8').catch(() => '')
  return actions.includes('errno')
    ? ok('seccomp', 'filters are available')
    : fail('seccomp', 'this kernel has no seccomp filters', 'use a kernel with CONFIG_SECCOMP_FILTER')
}

async function checkUsr(): Promise<Finding> {
  for (const name of ['bin', 'sbin', 'lib']) {
    const target = await readlink(join('/', name)).catch(() => undefined)
    if (target?.replace(/^\//, '') !== `usr/${name}`) {
      return fail(
        '/usr',
        `/${name} is no link to /usr/${name}`,
        'apt-get install -y usrmerge, or give environments an image',
      )
    }
  }
  return ok('/usr', 'holds all programs and libraries')
}

async function checkDisk(stateDir: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(stateDir)
  const free = bavail * bsize
  const detail = `${(free / GIB).toFixed(1)} GiB free for ${stateDir}`
  const remedy = `free space in ${stateDir}, or move the data directory`
  if (free < GIB) return fail('disk', detail, remedy)
  return free < 10 * GIB ? warn('disk', detail, remedy) : ok('disk', detail)
}

async function checkBinary(what: string, path: string): Promise<Finding> {
  return (await isExecutable(path)) ? ok(what, path) : fail(what, `${path} is not executable`, 'npm ci')
}

async function checkReadable(what: string, path: string): Promise<Finding> {
  const readable = await access(path, constants.R_OK)
    .then(() => true)
    .catch(() => false)
  return readable ? ok(what, path) : fail(what, `${path} cannot be read`, 'npm ci && npm run build')
}
