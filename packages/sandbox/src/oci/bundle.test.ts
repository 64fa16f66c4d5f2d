import { describe, expect, it } from 'vitest'
import { ociConfig } from './bundle.ts'
import type { BundleInput } from './bundle.ts'

const MIB = 1024 * 1024

function input(change: Partial<BundleInput> = {}): BundleInput {
  return {
    spec: {
      id: 'sbx_1',
      epoch: 1,
      labels: { tenant: 'acme' },
      limits: { cpus: 0.5, memoryBytes: 256 * MIB, diskBytes: 64 * MIB, pids: 99, files: 4096 },
      until: new Date(0),
      env: { BERTH_NONCE: 'n', PATH: '/own' },
      image: null,
    },
    uidBase: 65_536,
    dir: '/s/sbx_1',
    emptyDir: '/s/.empty',
    init: '/usr/bin/catatonit',
    node: '/n',
    claude: '/c',
    runner: '/r.mjs',
    archiver: '/a.mjs',
    nodeFlags: ['--max-old-space-size=64'],
    hardFiles: 1000,
    arch: 'x64',
    limits: { cpu: true, memory: true, pids: true },
    swapLimit: true,
    cgroupV2: false,
    ...change,
  }
}

describe('OCI configuration', () => {
  it('starts the runner under an init, with three capabilities and no way to more', () => {
    expect(ociConfig(input())).toMatchObject({
      process: {
        args: ['/opt/berth/init', '--', '/opt/berth/node', '--max-old-space-size=64', '/opt/berth/runner.mjs'],
        env: ['PATH=/own', 'HOME=/', 'BERTH_NONCE=n'],
        user: { uid: 0, gid: 0 },
        capabilities: {
          bounding: ['CAP_SETUID', 'CAP_SETGID', 'CAP_KILL'],
          effective: ['CAP_SETUID', 'CAP_SETGID', 'CAP_KILL'],
          permitted: ['CAP_SETUID', 'CAP_SETGID', 'CAP_KILL'],
          inheritable: [],
          ambient: [],
        },
        noNewPrivileges: true,
        rlimits: [
          { type: 'RLIMIT_NOFILE', soft: 1000, hard: 1000 },
          { type: 'RLIMIT_CORE', soft: 1, hard: 1 },
        ],
      },
    })
  })

  it('has every namespace of its own and a uid range', () => {
    const mapping = [{ containerID: 0, hostID: 65_536, size: 65_536 }]
    expect(ociConfig(input())).toMatchObject({
      root: { readonly: true },
      linux: {
        namespaces: ['user', 'pid', 'mount', 'network', 'ipc', 'uts', 'cgroup'].map((type) => ({ type })),
        uidMappings: mapping,
        gidMappings: mapping,
        cgroupsPath: '/berth/sbx_1',
      },
    })
  })

  it('limits what this machine can limit', () => {
    const resources = (change?: Partial<BundleInput>): unknown => ociConfig(input(change))['linux']
    const memory = { limit: 256 * MIB, swap: 256 * MIB }
    const all = { memory, cpu: { period: 100_000, quota: 50_000 }, pids: { limit: 99 } }
    expect(resources()).toMatchObject({ resources: all })
    expect(resources()).not.toHaveProperty('resources.unified')
    expect(resources({ cgroupV2: true })).toMatchObject({ resources: { ...all, unified: { 'memory.oom.group': '1' } } })
    const none = resources({ limits: { cpu: true, memory: false, pids: true }, cgroupV2: true })
    expect(none).not.toHaveProperty('resources.memory')
    expect(none).not.toHaveProperty('resources.unified')
    expect(resources({ swapLimit: false })).toHaveProperty('resources.memory', { limit: 256 * MIB })
  })

  it('binds the host read-only, its /usr without /usr/local, and the disk without setuid and devices', () => {
    const { mounts } = ociConfig(input())
    expect(mounts).toEqual(
      expect.arrayContaining([
        { destination: '/usr', type: 'bind', source: '/usr', options: ['bind', 'ro', 'nosuid', 'nodev'] },
        {
          destination: '/usr/local',
          type: 'bind',
          source: '/s/.empty',
          options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec'],
        },
        {
          destination: '/run/berth',
          type: 'bind',
          source: '/s/sbx_1/run',
          options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec'],
        },
        {
          destination: '/workspace',
          type: 'bind',
          source: '/s/sbx_1/disk/workspace',
          options: ['bind', 'rw', 'nosuid', 'nodev', 'noatime'],
        },
      ]),
    )
  })

  it('takes nothing of the host’s /usr when there is an image', () => {
    const { mounts } = ociConfig(input({ spec: { ...input().spec, image: '/i' } }))
    expect(JSON.stringify(mounts)).not.toMatch(/"\/usr(\/local)?"/)
  })

  it('never names a label', () => {
    expect(JSON.stringify(ociConfig(input()))).not.toContain('acme')
  })
})
