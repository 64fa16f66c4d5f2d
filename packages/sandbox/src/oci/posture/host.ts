import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Finding } from '../../driver.ts'
import { ok, warn } from '../../finding.ts'
import { kernelFinding } from './kernel-finding.ts'
import type { HostName } from './names.ts'

/** Reads a file of the kernel's; undefined where this kernel has it not. */
export type ReadKernelFile = (path: string) => Promise<string | undefined>

/** What this machine's kernel says about itself. `root`: where /proc, /sys and the rest are. */
export async function hostFindings(now: Date, root = '/'): Promise<Finding[]> {
  const read: ReadKernelFile = async (path) => {
    const text = await readFile(join(root, path), 'utf8').catch(() => undefined)
    return text?.trim()
  }
  return Promise.all([
    kernelFinding(root, read, now.getTime()),
    processorFlaws(root, read),
    threads(read),
    pageMerging(read),
    swap(read),
    coreDumps(read),
    securityModules(read),
    ptrace(read),
    userNamespaces(read),
    bpf(read),
  ])
}

async function processorFlaws(root: string, read: ReadKernelFile): Promise<Finding> {
  const what: HostName = 'processor flaws'
  const dir = 'sys/devices/system/cpu/vulnerabilities'
  const names = await readdir(join(root, dir)).catch(() => [])
  if (names.length === 0) {
    return warn(
      what,
      'this kernel does not say which it is open to',
      'use a kernel that has /sys/devices/system/cpu/vulnerabilities',
    )
  }
  const sorted = names.toSorted((one, two) => one.localeCompare(two))
  const states = await Promise.all(sorted.map(async (name) => ({ name, state: await read(join(dir, name)) })))
  const open = states.filter(({ state }) => state === undefined || /Vulnerable|Unknown/.test(state))
  if (open.length === 0) return ok(what, `mitigated, or not there: all ${names.length} that this kernel knows`)
  const list = open.map(({ name, state }) => `${name} (${state ?? 'unknown'})`).join(', ')
  return warn(
    what,
    `open: ${list}`,
    'install the processor’s microcode and boot without mitigations=off; on a virtual machine, ask its host',
  )
}

async function threads(read: ReadKernelFile): Promise<Finding> {
  const what: HostName = 'simultaneous threads'
  const active = await read('sys/devices/system/cpu/smt/active')
  if (active === '0') return ok(what, 'off: no two sandboxes share a core at the same time')
  const seen = active === '1' ? 'on: two sandboxes may share a core at the same time' : 'cannot be seen from here'
  return warn(what, seen, 'boot with nosmt where tenants must not learn from each other by timing')
}

async function pageMerging(read: ReadKernelFile): Promise<Finding> {
  const what: HostName = 'page merging'
  const run = await read('sys/kernel/mm/ksm/run')
  if (run === undefined || run === '0') return ok(what, 'off')
  return warn(what, 'on: timing tells whether another sandbox has the same page', 'echo 2 > /sys/kernel/mm/ksm/run')
}

async function swap(read: ReadKernelFile): Promise<Finding> {
  const what: HostName = 'swap'
  const table = (await read('proc/swaps')) ?? ''
  const devices = table
    .split('\n')
    .slice(1)
    .map((line) => line.split(/\s+/)[0] ?? '')
  if (devices.length === 0) return ok(what, 'none: what is in memory is on no disk')
  const plain = []
  for (const device of devices) if (!(await isVolatile(device, read))) plain.push(device)
  if (plain.length === 0) return ok(what, `${devices.join(', ')}: in memory, or encrypted`)
  const remedy = 'swapoff -a, or swap to an encrypted device'
  return warn(what, `${plain.join(', ')}: keys and conversations may be written there in the clear`, remedy)
}

/** Swap that ends with the power: compressed memory, or an encrypted device. */
async function isVolatile(device: string, read: ReadKernelFile): Promise<boolean> {
  if (/^\/dev\/zram\d+$/.test(device)) return true
  const name = /^\/dev\/(dm-\d+)$/.exec(device)?.[1]
  return name !== undefined && (await read(`sys/block/${name}/dm/uuid`))?.startsWith('CRYPT-') === true
}

async function coreDumps(read: ReadKernelFile): Promise<Finding> {
  const what: HostName = 'core dumps'
  const pattern = await read('proc/sys/kernel/core_pattern')
  if (pattern === undefined) return warn(what, 'core_pattern cannot be read', 'run berth doctor on the host itself')
  if (!pattern.startsWith('|')) return ok(what, `to a file (${pattern}); a sandbox’s limits forbid its own`)
  const remedy = 'sysctl -w kernel.core_pattern=core'
  return warn(what, `of sandboxes too go to a program of the host that runs as root (${pattern})`, remedy)
}

async function securityModules(read: ReadKernelFile): Promise<Finding> {
  const what: HostName = 'security modules'
  const modules = (await read('sys/kernel/security/lsm'))?.split(',') ?? []
  const mandatory = modules.filter((name) => ['apparmor', 'selinux', 'smack', 'tomoyo'].includes(name))
  if (mandatory.length > 0)
    return ok(what, `${mandatory.join(', ')}; Berth does not count on it, its sandboxes have no profile of their own`)
  return warn(
    what,
    'no mandatory access control: user namespaces, capabilities and the filter of system calls stand alone',
    'boot a kernel with AppArmor or SELinux',
  )
}

async function ptrace(read: ReadKernelFile): Promise<Finding> {
  const what: HostName = 'ptrace'
  const scope = Number((await read('proc/sys/kernel/yama/ptrace_scope')) ?? '0')
  if (scope >= 1) return ok(what, `restricted on the host (Yama, ${scope}); in sandboxes it is refused`)
  const detail =
    'not restricted on the host: a process may read the memory of others of its user; in sandboxes it is refused'
  return warn(what, detail, 'sysctl -w kernel.yama.ptrace_scope=1, on a kernel with Yama')
}

async function userNamespaces(read: ReadKernelFile): Promise<Finding> {
  const what: HostName = 'user namespaces'
  const [clone, apparmor] = await Promise.all(
    ['unprivileged_userns_clone', 'apparmor_restrict_unprivileged_userns'].map((name) =>
      read(`proc/sys/kernel/${name}`),
    ),
  )
  if (clone === '0' || apparmor === '1') return ok(what, 'for root alone; Berth needs no others')
  const detail = 'any user of the host may make them, which reaches much of the kernel; sandboxes may not'
  return warn(what, detail, 'sysctl -w kernel.unprivileged_userns_clone=0, where the kernel has it; Berth runs as root')
}

async function bpf(read: ReadKernelFile): Promise<Finding> {
  const what: HostName = 'unprivileged bpf'
  const disabled = await read('proc/sys/kernel/unprivileged_bpf_disabled')
  if (disabled === '1' || disabled === '2') return ok(what, 'off')
  return warn(
    what,
    'any user of the host may load programs into the kernel; sandboxes may not',
    'sysctl -w kernel.unprivileged_bpf_disabled=1',
  )
}
