import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { controlSocket } from '@berth/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { readApiKey } from '../api-key-file.ts'
import { BerthProcess, berthProcess, type Ended } from '../../test/berth-process.ts'

// Every step here is a process with a server, a gateway or a sandbox to start.
const PATIENCE = 90_000
vi.setConfig({ testTimeout: 240_000 })
let dataDir = ''
let env: Record<string, string> = {}

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'berth-'))
  env = { BERTH_DATA_DIR: dataDir }
})
afterEach(async () => {
  const gateway = openGatewayClient(controlSocket(join(dataDir, 'gateway')))
  await gateway.shutdown().catch(() => undefined)
  await vi.waitFor(() => expect(gateway.health()).rejects.toThrow(), PATIENCE)
  await rm(dataDir, { recursive: true })
})

async function serving(): Promise<BerthProcess> {
  const server = new BerthProcess(['serve', '--listen', '127.0.0.1:0'], env)
  await vi.waitFor(() => expect(server.out + server.err).toMatch(/^berth/m), PATIENCE)
  return server
}

async function stop(server: BerthProcess, signal: NodeJS.Signals): Promise<Ended> {
  server.signal(signal)
  return server.ended
}

it('says once where it is and what the key is, works with the key file alone, and drains on a signal', async () => {
  using server = await serving()
  const url = /^berth ready on (http:\S+) · data (\S+) · model scripted$/m.exec(server.out)
  expect(url?.[2]).toBe(dataDir)
  expect(server.out).toContain(`kept in ${join(dataDir, 'api-key')}: berth_`)
  expect((await stat(join(dataDir, 'api-key'))).mode & 0o777).toBe(0o600)

  const BERTH_URL = url?.[1] ?? ''
  const script = 'Echo.\n::tool Bash {"command":"echo out of $((6 * 7))"}\n::next\n::text It said {{result}}.'
  const ran = await berthProcess(['run', script], { ...env, BERTH_URL })
  const sessions = await berthProcess(['sessions', 'ls', '--all'], { ...env, BERTH_URL })
  expect(sessions.out).toMatch(/^sesn_\w+\tterminated\tberth-cli\t/)
  expect(ran).toEqual({ code: 0, out: '● bash  echo out of $((6 * 7))\n    out of 42\nIt said out of 42.\n', err: '' })

  expect(await stop(server, 'SIGTERM')).toMatchObject({ code: 0 })
})

it('makes keys that work until they are revoked', async () => {
  using server = await serving()
  const BERTH_URL = /^berth ready on (http:\S+)/m.exec(server.out)?.[1] ?? ''
  const made = await berthProcess(['keys', 'create', '--name', 'second'], { ...env, BERTH_URL })
  const withNewKey = { BERTH_URL, BERTH_API_KEY: made.out.trim() }
  const keys = await berthProcess(['keys', 'ls', '--json'], withNewKey)
  const [id] = /apikey_\w+(?=[^\n]*second)/.exec(keys.out) ?? []
  const narrow = ['keys', 'create', '--name', 'narrow', '--scope', 'read', '--expires', '12h']
  const reading = { BERTH_URL, BERTH_API_KEY: (await berthProcess(narrow, withNewKey)).out.trim() }
  const seen = await berthProcess(['keys', 'ls', '--json'], reading)
  expect(seen.out).toMatch(/"scope":"read","created_at":"[^"]+","expires_at":"20/)
  const refused = await berthProcess(['keys', 'create', '--name', 'wider'], reading)
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('the scope of the API key is "read"') })
  expect((await berthProcess(['keys', 'revoke', id ?? ''], { ...env, BERTH_URL })).code).toBe(0)
  expect((await berthProcess(['sessions', 'ls'], withNewKey)).code).toBe(1)
  await stop(server, 'SIGTERM')
})

it('keeps the key over a restart and does not show it again', async () => {
  using first = await serving()
  expect(first.out).toContain('API key')
  const key = await readApiKey(dataDir)
  expect(await stop(first, 'SIGINT')).toMatchObject({ code: 0 })

  using second = await serving()
  expect(second.out).toContain('berth ready on')
  expect(second.out).not.toContain('API key')
  expect(await readApiKey(dataDir)).toBe(key)
  expect(await stop(second, 'SIGINT')).toMatchObject({ code: 0 })
})

it('refuses a data directory that another server has', async () => {
  using server = await serving()
  const second = await berthProcess(['serve', '--listen', '127.0.0.1:0'], env)
  expect(second).toMatchObject({ code: 1, err: `berth: ${dataDir} is in use by another berth server\n` })
  await stop(server, 'SIGTERM')
})

it('gives a first task with quickstart --once, and leaves nothing behind', async () => {
  const tmp = await mkdtemp(join(tmpdir(), 'b-'))
  try {
    const { code, out, err } = await berthProcess(['quickstart', '--once'], { TMPDIR: tmp })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^model: scripted/)
    expect(out).toMatch(
      /● write {2}\/workspace\/fingerprint.sh\n[\s\S]*● bash {2}sh [^\n]*\n {4}fingerprint: ([0-9a-f]{16})\n[\s\S]*\1/,
    )
    expect(await readdir(tmp)).toEqual([])
  } finally {
    await rm(tmp, { recursive: true })
  }
})
