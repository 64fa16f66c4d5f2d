import { expect, it } from 'vitest'
import { judgeSandbox } from './judge-sandbox.ts'
import type { Observed } from './judge-sandbox.ts'
import { sandboxNames } from './names.ts'
import type { ProcessFacts } from '../process-facts.ts'

const BASE = 0x7000_0000
const host = { user: 'u:1', pid: 'p:1', mount: 'm:1', network: 'n:1', ipc: 'i:1', uts: 't:1', cgroup: 'c:1' }
const own = { user: 'u:2', pid: 'p:2', mount: 'm:2', network: 'n:2', ipc: 'i:2', uts: 't:2', cgroup: 'c:2' }
const none = { CapInh: 0n, CapPrm: 0n, CapEff: 0n, CapBnd: 0xe0n, CapAmb: 0n }

function process(uid: number, change: Partial<ProcessFacts> = {}): ProcessFacts {
  const ids = [uid, uid, uid, uid]
  const map = `0 ${BASE} 65536`
  const capabilities = uid === BASE ? { ...none, CapPrm: 0xe0n, CapEff: 0xe0n } : none
  const held = { noNewPrivileges: true, seccomp: 2, uidMap: map, gidMap: map, namespaces: own, coreLimit: '1' }
  return { pid: uid - BASE + 2, uids: ids, gids: ids, groups: [], capabilities, ...held, ...change }
}

const agentOf = (change: Partial<ProcessFacts>): ProcessFacts[] => [process(BASE), process(BASE + 1000, change)]

const facts: Observed['facts'] = {
  processes: agentOf({}),
  interfaces: ['lo'],
  routes: [],
  mounts: [
    { at: '/', root: '/', type: 'ext4', options: ['ro', 'nosuid'] },
    { at: '/workspace', root: '/workspace', type: 'ext4', options: ['rw', 'nosuid', 'nodev'] },
    { at: '/proc/keys', root: '/null', type: 'devtmpfs', options: ['rw'] },
  ],
  limits: { 'memory.max': '268435456', 'memory.swap.max': '0', 'pids.max': '64', 'cpu.max': '100000 100000' },
}
const sound: Observed = {
  facts,
  uidBase: BASE,
  hostNamespaces: host,
  limits: { cpus: 1, memoryBytes: 268_435_456, diskBytes: 0, pids: 64, files: 1024 },
  cgroups: { version: 'v2', swapLimit: true, has: { cpu: true, memory: true, pids: true } },
  attempts: { unshare: '1', 'socket:alg': '1', int80: 'SIGSYS' },
}
const withFacts = (change: Partial<Observed['facts']>): Observed => ({ ...sound, facts: { ...facts, ...change } })
const withAgent = (change: Partial<ProcessFacts>): Observed => withFacts({ processes: agentOf(change) })

it('finds nothing to say of a sandbox that is held by everything', () => {
  expect(judgeSandbox(sound).map(({ level, what }) => [what, level])).toEqual(sandboxNames.map((name) => [name, 'ok']))
})

it.each<[string, string, Observed]>([
  ['sandbox users', 'a process that is root of the host', withAgent({ uids: [0, 0, 0, 0] })],
  ['sandbox users', 'a group of the host', withAgent({ groups: [27] })],
  ['sandbox users', 'another map', withAgent({ uidMap: '0 0 4294967295' })],
  ['sandbox rights', 'an agent with a capability', withAgent({ capabilities: { ...none, CapEff: 0x80n } })],
  ['sandbox rights', 'a way to more', withAgent({ capabilities: { ...none, CapBnd: 0x20_00e0n } })],
  ['sandbox rights', 'setuid programs that work', withAgent({ noNewPrivileges: false })],
  ['sandbox rights', 'no agent to look at', withFacts({ processes: [process(BASE)] })],
  ['sandbox system calls', 'a process without a filter', withAgent({ seccomp: 0 })],
  ['sandbox system calls', 'a call that works', { ...sound, attempts: { 'socket:alg': '0' } }],
  ['sandbox system calls', 'a call that fails for another reason', { ...sound, attempts: { bpf: '22' } }],
  ['sandbox system calls', 'the 32-bit entry', { ...sound, attempts: { int80: '0' } }],
  ['sandbox system calls', 'nothing tried', { ...sound, attempts: {} }],
  ['sandbox namespaces', 'one of the host’s', withAgent({ namespaces: { ...own, ipc: 'i:1' } })],
  ['sandbox network', 'an interface', withFacts({ interfaces: ['lo', 'eth0'] })],
  ['sandbox network', 'a route', withFacts({ routes: ['eth0 00000000 …'] })],
  [
    'sandbox mounts',
    'a root that can be written',
    withFacts({ mounts: [{ at: '/', root: '/', type: 'ext4', options: ['rw', 'nosuid'] }] }),
  ],
  [
    'sandbox mounts',
    'setuid programs',
    withFacts({ mounts: [{ at: '/workspace', root: '/', type: 'ext4', options: ['rw', 'nodev'] }] }),
  ],
  [
    'sandbox mounts',
    'cgroups of the host',
    withFacts({ mounts: [{ at: '/sys/fs/cgroup', root: '/', type: 'cgroup2', options: ['ro', 'nosuid'] }] }),
  ],
  ['sandbox limits', 'memory without one', withFacts({ limits: { ...facts.limits, 'memory.max': 'max' } })],
  ['sandbox limits', 'processes without one', withFacts({ limits: { ...facts.limits, 'pids.max': 'max' } })],
  ['sandbox limits', 'CPU without one', withFacts({ limits: { ...facts.limits, 'cpu.max': 'max 100000' } })],
  ['sandbox limits', 'core dumps', withAgent({ coreLimit: 'unlimited' })],
])('fails %s for %s', (what, _, observed) => {
  const loud = judgeSandbox(observed).filter(({ level }) => level !== 'ok')
  expect(loud).toEqual([{ level: 'fail', what, detail: expect.any(String), remedy: expect.any(String) }])
})
