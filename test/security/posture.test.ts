import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { securityNames } from '@berth/cli/posture/security-findings'
import { sandboxNames } from '@berth/sandbox/oci/posture/names'
import { afterAll, beforeAll, expect } from 'vitest'
import { z } from 'zod'
import { berthProcess } from '../../packages/cli/test/berth-process.ts'
import { story } from '../harness/story.ts'
import { startTestBerth } from '../harness/test-berth.ts'

story.override(
  'start',
  { scope: 'file' },
  () => () => startTestBerth({ env: { BERTH_EGRESS_NETWORKS: '10.1.0.0/16' } }),
)

let scratch: string
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'bt-'))
})
afterAll(() => rm(scratch, { recursive: true }))

const finding = z.object({ level: z.enum(['ok', 'warn', 'fail']), what: z.string(), detail: z.string() })

async function posture(dataDir: string): Promise<{ code: number | null; found: Map<string, z.infer<typeof finding>> }> {
  const args = ['doctor', '--security', '--json', '--data-dir', dataDir]
  const { code, out } = await berthProcess(args, { TMPDIR: scratch })
  const lines = out
    .trimEnd()
    .split('\n')
    .map((line) => finding.parse(JSON.parse(line)))
  return { code, found: new Map(lines.map((line) => [line.what, line])) }
}

story(
  'doctor --security says what holds here and now, leaves nothing, and fails where it has to',
  async ({ berth }) => {
    const { code, found } = await posture(berth.dir)
    expect([...found.keys()]).toEqual(securityNames)
    // Where the kernel does not count swap, that is said of the limits.
    expect(sandboxNames.filter((name) => found.get(name)?.level !== 'ok' && name !== 'sandbox limits')).toEqual([])
    expect(found.get('sandbox limits')?.level).not.toBe('fail')
    expect(found.get('data directory')?.level).toBe('ok')
    // Of the processes that run, and not of what this command would have been told.
    expect(found.get('listening')?.detail).toContain(new URL(berth.server.url).host)
    expect(found.get('ways out')).toMatchObject({ level: 'warn', detail: expect.stringContaining('10.1.0.0/16') })
    const levels = [...found.values()].map(({ level }) => level)
    expect(code).toBe(levels.includes('fail') ? 1 : 0)
    expect(await readdir(scratch)).toEqual([])
    await chmod(berth.dir, 0o755)
    const open = await posture(berth.dir)
    await chmod(berth.dir, 0o700)
    expect(open.found.get('data directory')).toMatchObject({
      level: 'fail',
      detail: expect.stringContaining(berth.dir),
    })
    expect(open.code).toBe(1)
  },
  150_000,
)
