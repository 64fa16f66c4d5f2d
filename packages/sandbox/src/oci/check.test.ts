import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'

const findings = z.array(
  z.object({ level: z.string(), what: z.string(), detail: z.string(), remedy: z.string().optional() }),
)
const answer = z.object({ findings, created: z.string() })

/** What a driver says on a machine that is as this one, but for what the shell script does to it. Nobody else sees that. */
async function onMachine(script: string): Promise<z.infer<typeof answer>> {
  const dir = await mkdtemp(join(tmpdir(), 'mc-'))
  const program = `
    const { openOciDriver } = await import(${JSON.stringify(join(import.meta.dirname, 'driver.ts'))})
    const program = process.execPath
    await using driver = await openOciDriver({
      stateDir: process.env.STATE, node: program, claude: program, runner: program, archiver: program,
    })
    const findings = (await driver.check()).filter(({ level }) => level === 'fail')
    const limits = { cpus: 1, memoryBytes: 2 ** 26, diskBytes: 2 ** 24, pids: 32, files: 256 }
    const spec = { id: 'sbx_1', epoch: 1, labels: {}, limits, until: new Date(Date.now() + 60_000), env: {}, image: null }
    const created = findings.some(({ what }) => what.startsWith('cgroup'))
      ? await driver.create(spec).then(() => 'created', ({ code, message }) => code + ': ' + message)
      : 'not tried'
    console.log(JSON.stringify({ findings, created }))`
  try {
    await writeFile(join(dir, 'zero'), '0\n')
    await writeFile(join(dir, 'actions'), 'kill_process allow\n')
    const command = [`cd ${dir}`, script, `exec ${process.execPath} --input-type=module --eval "$PROGRAM"`].join(' && ')
    const { stdout } = await promisify(execFile)(
      'unshare',
      ['--mount', '--propagation', 'private', 'sh', '-c', command],
      {
        env: { ...process.env, PROGRAM: program, STATE: join(dir, 's') },
      },
    )
    return answer.parse(JSON.parse(stdout))
  } finally {
    await rm(dir, { recursive: true })
  }
}

describe.skipIf(process.getuid?.() !== 0)(
  'a machine on which sandboxes would be weaker than they are said to be',
  () => {
    it.each([
      ['user namespaces', 'mount --bind zero /proc/sys/user/max_user_namespaces', /allows none/],
      ['seccomp', 'mount --bind actions /proc/sys/kernel/seccomp/actions_avail', /no seccomp filters/],
    ])('is found out: %s', async (what, script, detail) => {
      const { findings } = await onMachine(script)
      expect(findings).toMatchObject([{ what, detail: expect.stringMatching(detail), remedy: expect.any(String) }])
    })

    it('makes none without the controllers that limit them', async () => {
      const { findings, created } = await onMachine('umount --recursive --lazy /sys/fs/cgroup')
      expect(findings.map(({ what }) => what)).toEqual(['cgroup cpu limit', 'cgroup memory limit', 'cgroup pids limit'])
      expect(created).toBe('unavailable: this machine has no cgroup controller for: cpu, memory, pids')
    })
  },
)
