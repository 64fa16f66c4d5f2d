import { expect, it } from 'vitest'
import { z } from 'zod'
import { berthProcess } from '../test/berth-process.ts'
import { recordedServer } from '../test/recorded-server.ts'

const finding = z.object({ level: z.enum(['ok', 'warn', 'fail']), what: z.string(), detail: z.string() }).loose()

it('names the command that was meant, and exits 2', async () => {
  const { code, out, err } = await berthProcess(['sesions', 'ls'])
  expect(code).toBe(2)
  expect(err).toContain("unknown command 'sesions'")
  expect(err).toContain('Did you mean sessions?')
  expect(out).toBe('')
})

it('names the flag that was meant, and exits 2', async () => {
  const { code, err } = await berthProcess(['run', '--modle', 'x', 'hi'])
  expect(code).toBe(2)
  expect(err).toContain('Did you mean --model?')
})

it.each([
  [['run']],
  [['run', 'two', 'prompts']],
  [['keys', 'create']],
  [['serve', '--listen', '127.0.0.1:70000']],
  [['serve', '--listen', '7071']],
  [['run', '--url', 'ftp://somewhere', 'hi']],
])('refuses %j as a usage error', async (args) => {
  const { code, err } = await berthProcess(args)
  expect(code).toBe(2)
  expect(err).not.toContain('    at ')
})

it('names the variable whose value is wrong, and exits 2', async () => {
  const { code, err } = await berthProcess(['serve'], { BERTH_LISTEN: 'many' })
  expect(code).toBe(2)
  expect(err).toBe(
    'berth: BERTH_LISTEN (environment): must be an address and a port, such as 127.0.0.1:7071 or [::1]:7071\n',
  )
})

it('prints its version and its help on stdout, and exits 0', async () => {
  const version = await berthProcess(['--version'])
  expect(version).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), err: '' })
  const help = await berthProcess(['run', '--help'])
  expect(help).toMatchObject({ code: 0, out: expect.stringContaining('--json'), err: '' })
})

it('says how to start a server when none is reachable, in one line', async () => {
  const url = await unusedUrl()
  const { code, out, err } = await berthProcess(['run', 'hi', '--url', url], { BERTH_API_KEY: 'k' })
  expect({ code, out }).toEqual({ code: 1, out: '' })
  expect(err).toMatch(/^berth: no Berth server can be reached \(.*ECONNREFUSED.*\)\. Start one with `berth serve`.*\n$/)
})

it('says where it looked for a key', async () => {
  const { code, err } = await berthProcess(['sessions', 'ls', '--data-dir', '/nonexistent/berth'])
  expect(code).toBe(1)
  expect(err).toContain('/nonexistent/berth/api-key does not exist')
})

it('examines the machine, one finding per line as JSON, and exits by the worst', async () => {
  const { code, out } = await berthProcess(['doctor', '--json', '--listen', '127.0.0.1:0', '--data-dir', '/proc/berth'])
  const findings = out
    .trimEnd()
    .split('\n')
    .map((line) => finding.parse(JSON.parse(line)))
  expect(findings).toContainEqual(
    expect.objectContaining({ what: 'data directory', level: 'fail', remedy: expect.any(String) }),
  )
  expect(findings.map(({ what }) => what)).toContain('OCI runtime')
  expect(code).toBe(1)
})

it('offers the local key to no other machine', async () => {
  const { code, err } = await berthProcess(['sessions', 'ls', '--url', 'https://berth.example'])
  expect(code).toBe(1)
  expect(err).toContain('needs an API key')
})

/** Of a server that was there and has gone. */
async function unusedUrl(): Promise<string> {
  const server = await recordedServer(() => undefined)
  await server[Symbol.asyncDispose]()
  return server.url
}
