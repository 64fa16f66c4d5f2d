import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { controlSocket } from '@berth/gateway'
import { type GatewayClient, openGatewayClient } from '@berth/protocol/gateway-client'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { BerthProcess, berthProcess } from '../test/berth-process.ts'

const PATIENCE = 50_000
let dir = ''
let file = ''

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'b-'))
  file = join(dir, 'berth.json')
})
afterAll(async () => {
  // A server that had to be killed has left its gateway.
  for (const name of ['d', 'e']) {
    const gateway = gatewayOf(join(dir, name))
    await gateway.shutdown().catch(() => undefined)
    await vi.waitFor(() => expect(gateway.health()).rejects.toThrow(), PATIENCE)
  }
  await rm(dir, { recursive: true })
})

it.each([
  {
    decides: 'a flag',
    flags: ['--listen', '127.0.0.2:1'],
    env: { BERTH_LISTEN: '127.0.0.3:1' },
    content: { listen: '127.0.0.4:1' },
    address: '127.0.0.2:1',
  },
  {
    decides: 'a variable',
    env: { BERTH_LISTEN: '127.0.0.3:1' },
    content: { listen: '127.0.0.4:1' },
    address: '127.0.0.3:1',
  },
  { decides: 'the file', env: { BERTH_LISTEN: '' }, content: { listen: '127.0.0.4:1' }, address: '127.0.0.4:1' },
  { decides: 'the default', address: '127.0.0.1:7071' },
])('$decides decides', async ({ flags = [], env, content = {}, address }) => {
  await writeFile(file, JSON.stringify(content))
  const { out } = await berthProcess(['doctor', '--config', file, '--data-dir', dir, ...flags], env)
  expect(/^\S+ +port +(\S+)/m.exec(out)?.[1]).toBe(address)
})

it.each([
  [{ listen: '127.0.0.1' }, `listen (FILE): must be an address and a port, such as 127.0.0.1:7071 or [::1]:7071`],
  [{ lissten: '127.0.0.1:1' }, 'lissten (FILE): is not a setting'],
  [{ api_key: 'a-secret-of-some-length' }, 'api_key (FILE): is not a setting'],
])('the file %j is an error of usage that names the setting and the file', async (content, message) => {
  await writeFile(file, JSON.stringify(content))
  const ended = await berthProcess(['serve', '--data-dir', dir], { BERTH_CONFIG: file })
  expect(ended).toEqual({ code: 2, out: '', err: `berth: ${message.replace('FILE', file)}\n` })
})

it('a file that is not there is an error of usage that names it', async () => {
  const { code, err } = await berthProcess(['serve', '--config', join(dir, 'missing.json')])
  expect(code).toBe(2)
  expect(err).toMatch(/^berth: the file of --config or BERTH_CONFIG cannot be read: .*missing\.json/)
})

it('an OCI runtime that does not work is found by doctor, and serve does not start with it', async () => {
  const env = { BERTH_OCI_RUNTIME: '/nonexistent/crun', BERTH_DATA_DIR: join(dir, 'none') }
  const doctor = await berthProcess(['doctor'], env)
  expect(doctor.code).toBe(1)
  expect(doctor.out).toContain('/nonexistent/crun is not a working OCI runtime')
  const serve = await berthProcess(['serve'], env)
  expect(serve.code).toBe(1)
  expect(serve.err).toBe('berth: BERTH_OCI_RUNTIME: /nonexistent/crun is not a working OCI runtime\n')
  expect(existsSync(join(dir, 'none'))).toBe(false)
})

it('the server has the key, the hosts, the origins and the log level that it was given, and no two share an address', async () => {
  const dataDir = join(dir, 'd')
  await writeFile(file, JSON.stringify({ listen: '127.0.0.1:0', allowed_hosts: ['a.example'], log_level: 'silent' }))
  const BERTH_API_KEY = 'a-key-of-our-own-choice'
  const env = { BERTH_CONFIG: file, BERTH_DATA_DIR: dataDir, BERTH_API_KEY }
  using server = new BerthProcess(['serve', '--allowed-origins', 'https://console.example'], env)
  await vi.waitFor(() => expect(server.out + server.err).toMatch(/^berth/m), PATIENCE)
  expect(server.out).not.toContain('API key')
  const url = /^berth ready on (http:\S+)/m.exec(server.out)?.[1] ?? ''
  const status = (headers: Record<string, string>) => statusOf(`${url}/v1/agents`, headers)
  const authorization = `Bearer ${BERTH_API_KEY}`
  expect(await status({ authorization })).toBe(200)
  expect(await status({})).toBe(401)
  expect(await status({ authorization, host: 'a.example' })).toBe(200)
  expect(await status({ authorization, host: 'b.example' })).toBe(403)
  expect(await status({ authorization, origin: 'https://console.example' })).toBe(200)
  expect(await status({ authorization, origin: 'https://other.example' })).toBe(403)

  const taken = url.slice('http://'.length)
  const second = await berthProcess(['serve', '--listen', taken, '--data-dir', join(dir, 'e')])
  expect(second.code).toBe(1)
  expect(second.err).toMatch(`berth: cannot listen on ${taken}: `)
  expect(second.err).toContain('see BERTH_LISTEN')
  await expect(gatewayOf(join(dir, 'e')).health()).rejects.toThrow()

  server.signal('SIGTERM')
  expect(await server.ended).toMatchObject({ code: 0, err: '' })
  await expect(gatewayOf(dataDir).health()).rejects.toThrow()
}, 120_000)

function gatewayOf(dataDir: string): GatewayClient {
  return openGatewayClient(controlSocket(join(dataDir, 'gateway')))
}

/** Of a request with this very Host, which `fetch` would not send. */
function statusOf(url: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { headers }, (answer) => resolve(answer.resume().statusCode)).once('error', reject)
  })
}
