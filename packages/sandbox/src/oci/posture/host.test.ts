import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Finding } from '../../driver.ts'
import { advisories, openAdvisories } from './advisories.ts'
import { hostFindings } from './host.ts'
import { hostNames } from './names.ts'
import { runtimeFinding } from './runtime-finding.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'posture-'))
})
afterEach(() => rm(root, { recursive: true }))

async function put(path: string, content: string | Buffer): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true })
  await writeFile(join(root, path), content)
}

const now = new Date('2026-03-01T00:00:00Z')
const levels = (findings: readonly Finding[]): Record<string, string> =>
  Object.fromEntries(findings.map(({ what, level }) => [what, level]))

describe('what the kernel says of itself', () => {
  const sound = {
    'proc/sys/kernel/osrelease': '6.1.0-40-amd64\n',
    'proc/sys/kernel/version': '#1 SMP PREEMPT_DYNAMIC Debian 6.1.162-1 (2026-02-11)\n',
    'boot/vmlinuz-6.1.0-40-amd64': '',
    'boot/vmlinuz-6.1.0-9-amd64': '',
    'sys/devices/system/cpu/vulnerabilities/meltdown': 'Not affected\n',
    'sys/devices/system/cpu/vulnerabilities/spectre_v2': 'Mitigation: Retpolines; STIBP: disabled\n',
    'sys/devices/system/cpu/smt/active': '0\n',
    'sys/kernel/mm/ksm/run': '0\n',
    'proc/swaps': 'Filename\tType\tSize\tUsed\tPriority\n/dev/zram0  partition 1 0 -2\n/dev/dm-1  partition 1 0 -3\n',
    'sys/block/dm-1/dm/uuid': 'CRYPT-LUKS2-0123-swap\n',
    'proc/sys/kernel/core_pattern': 'core\n',
    'sys/kernel/security/lsm': 'lockdown,capability,landlock,yama,apparmor\n',
    'proc/sys/kernel/yama/ptrace_scope': '1\n',
    'proc/sys/kernel/unprivileged_userns_clone': '0\n',
    'proc/sys/kernel/unprivileged_bpf_disabled': '2\n',
  }
  const names = hostNames.filter((name) => name !== 'runtime version')

  it('is well where all is as it should be', async () => {
    for (const [path, text] of Object.entries(sound)) await put(path, text)
    expect(levels(await hostFindings(now, root))).toEqual(Object.fromEntries(names.map((name) => [name, 'ok'])))
  })

  it('is never well by not being there, but for what a kernel can lack', async () => {
    const found = levels(await hostFindings(now, root))
    expect(Object.keys(found)).toEqual(names)
    const lacking = { 'page merging': 'ok', swap: 'ok' }
    expect(found).toEqual({ ...Object.fromEntries(names.map((name) => [name, 'warn'])), ...lacking })
  })

  it.each([
    ['kernel', 'boot/vmlinuz-6.1.0-41-amd64', '', /6\.1\.0-41-amd64 is installed/],
    ['kernel', 'proc/sys/kernel/version', '#1 SMP Debian 6.1.100-1 (2025-06-01)', /days old/],
    ['kernel', 'proc/sys/kernel/version', '#1 SMP Sun Jun  1 10:00:00 UTC 2025', /of 2025-06-01/],
    ['kernel', 'proc/sys/kernel/version', '#7 SMP', /cannot be told/],
    ['processor flaws', 'sys/devices/system/cpu/vulnerabilities/mds', 'Vulnerable: no microcode', /mds \(Vuln/],
    ['simultaneous threads', 'sys/devices/system/cpu/smt/active', '1', /share a core/],
    ['page merging', 'sys/kernel/mm/ksm/run', '1', /same page/],
    ['swap', 'sys/block/dm-1/dm/uuid', 'LVM-0123', /\/dev\/dm-1/],
    ['core dumps', 'proc/sys/kernel/core_pattern', '|/usr/lib/systemd/systemd-coredump %P', /systemd-coredump/],
    ['security modules', 'sys/kernel/security/lsm', 'capability,landlock,yama', /no mandatory/],
    ['ptrace', 'proc/sys/kernel/yama/ptrace_scope', '0', /not restricted/],
    ['user namespaces', 'proc/sys/kernel/unprivileged_userns_clone', '1', /any user/],
    ['unprivileged bpf', 'proc/sys/kernel/unprivileged_bpf_disabled', '0', /any user/],
  ])('warns of %s by %s = %j, and says how to mend it', async (name, path, text, detail) => {
    for (const [at, content] of Object.entries({ ...sound, [path]: text })) await put(at, content)
    const loud = (await hostFindings(now, root)).filter(({ level }) => level !== 'ok')
    expect(loud).toEqual([
      { level: 'warn', what: name, detail: expect.stringMatching(detail), remedy: expect.stringMatching(/\w/) },
    ])
  })
})

describe('what is known of a runtime', () => {
  const idsOf = (name: string, version: string): string[] =>
    openAdvisories(advisories[name] ?? [], version).map(({ id }) => id.replace(/^CVE-/, ''))

  it.each([
    ['crun', '1.8.1', ['2026-30892', '2026-47766', '2026-88264', '2026-88265']],
    ['crun', '1.28', ['2026-88264', '2026-88265']],
    ['crun', '1.30', []],
    ['crun', '2.0', []],
    ['crun', 'UNKNOWN', ['2026-30892', '2026-47766', '2026-88264', '2026-88265']],
    ['runc', '1.1.5+ds1', ['2024-21626', '2025-31133', '2025-52565', '2025-52881', '2026-41579']],
    ['runc', '1.2.8', ['2026-41579']],
    ['runc', '1.3.6', []],
    ['runc', '1.4.2', ['2026-41579']],
    ['runc', '1.4.0-rc.3', ['2025-31133', '2025-52565', '2025-52881', '2026-41579']],
    ['runc', '1.5.0', []],
    ['runc', '1.5.0-rc.1', ['2026-41579']],
    ['runc', '1.6.0', []],
  ])('%s %s', (name, version, open) => expect(idsOf(name, version)).toEqual(open))

  const runc = { name: 'runc', version: '1.1.5+ds1', path: '/usr/sbin/runc' }
  const changelog = gzipSync('runc (1.1.5+ds1-1+deb12u1)\n\n  * CVE-2024-21626: several container breakouts\n')

  it('believes the changelog of the package that the file is from, for what it names', async () => {
    await put('var/lib/dpkg/info/runc.list', '/.\n/usr/sbin/runc\n')
    await put('usr/share/doc/runc/changelog.Debian.gz', changelog)
    const { level, detail } = await runtimeFinding(runc, 'auto', root)
    expect(level).toBe('warn')
    expect(detail).toMatch(/not known to mend CVE-2025-31133.*says that it mends CVE-2024-21626$/)
  })

  it('does not believe it for a file of another origin', async () => {
    await put('var/lib/dpkg/info/runc.list', '/.\n/usr/bin/runc\n')
    await put('usr/share/doc/runc/changelog.Debian.gz', changelog)
    expect((await runtimeFinding(runc, 'auto', root)).detail).toMatch(/not known to mend CVE-2024-21626/)
  })

  it('is nothing, of one that Berth does not know', async () => {
    const found = await runtimeFinding(
      { name: 'runsc', version: 'release-20261101.0', path: '/opt/runsc' },
      'auto',
      root,
    )
    expect(found).toMatchObject({ level: 'warn', detail: expect.stringContaining('knows no advisories') })
  })

  it('is a failure, where there is none', async () => {
    expect(await runtimeFinding(undefined, 'auto', root)).toMatchObject({ level: 'fail' })
  })
})
