import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readCgroups } from './cgroup.ts'
import { missingLimits } from './making.ts'
import { parseOwnCgroups } from './machine.ts'

async function cgroupsOf(lines: readonly string[]) {
  const dir = await mkdtemp(join(tmpdir(), 'cgroup-'))
  await writeFile(join(dir, 'mountinfo'), lines.join('\n'))
  try {
    return await readCgroups(join(dir, 'mountinfo'))
  } finally {
    await rm(dir, { recursive: true })
  }
}

const disk = '26 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw'
const mountLine = (path: string, type: string, options: string): string =>
  `40 26 0:30 / ${path} rw,nosuid,nodev shared:9 - ${type} cgroup rw,${options}`

describe('cgroups', () => {
  it('tells v1 controllers by their mounts', async () => {
    const found = await cgroupsOf([
      disk,
      mountLine('/sys/fs/cgroup/cpu,cpuacct', 'cgroup', 'cpu,cpuacct'),
      mountLine('/sys/fs/cgroup/pids', 'cgroup', 'pids'),
    ])
    expect(found).toMatchObject({ version: 'v1', has: { cpu: true, memory: false, pids: true }, unified: undefined })
    expect(found.mounts).toEqual(['/sys/fs/cgroup/cpu,cpuacct', '/sys/fs/cgroup/pids'])
  })

  it('sees v2 beside v1 as something to hide from crun', async () => {
    const found = await cgroupsOf([
      mountLine('/sys/fs/cgroup/memory', 'cgroup', 'memory'),
      mountLine('/sys/fs/cgroup/unified', 'cgroup2', 'nsdelegate'),
    ])
    expect(found).toMatchObject({ version: 'hybrid', unified: '/sys/fs/cgroup/unified' })
  })

  it('takes v2 for what its root offers, and nothing for what is not there', async () => {
    const v2 = await cgroupsOf([disk, mountLine('/no/such/mount', 'cgroup2', 'nsdelegate')])
    expect(v2).toMatchObject({ version: 'v2', has: { cpu: false, memory: false, pids: false }, unified: undefined })
    expect(await cgroupsOf([disk])).toMatchObject({ version: 'none', mounts: [] })
  })

  it('counts a limit as missing unless it was waived by name', () => {
    const has = { cpu: true, memory: false, pids: false }
    expect(missingLimits(has, [])).toEqual(['memory', 'pids'])
    expect(missingLimits(has, ['pids'])).toEqual(['memory'])
  })

  it('reads which cgroups a process is in', () => {
    const own = parseOwnCgroups('4:memory:/a\n1:name=systemd:/system.slice/berth.service\n0::/x\n')
    expect([...own]).toEqual([
      ['memory', '/a'],
      ['name=systemd', '/system.slice/berth.service'],
      ['', '/x'],
    ])
  })
})
