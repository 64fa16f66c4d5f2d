import { Agent, request } from 'node:http'
import { once } from 'node:events'
import type { GatewayVault } from '@berth/protocol/gateway-vault'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { bearer } from '../fixture/mcp-credentials.ts'
import { type McpWorld, openMcpWorld, serverUrl } from '../fixture/mcp-world.ts'
import { json } from '../fixture/tls-hosts.ts'
import { readAll } from '../fixture/sandbox-call.ts'

let world: McpWorld
beforeAll(async () => {
  world = await openMcpWorld({ names: ['mcp.test', 'other.test'] })
})
afterAll(() => world[Symbol.asyncDispose]())
beforeEach(async () => {
  world.change({})
  await world.vaults.remove('v1')
  await world.vaults.remove('v2')
  world.hosts.received.length = 0
  world.hosts.answer('mcp.test', json({}))
  world.hosts.answer('other.test', json({}))
})

const vault = (...credentials: GatewayVault['credentials']): GatewayVault => ({ workspace_id: 'ws', credentials })
const sent = () => world.hosts.received.map(({ headers }) => headers.authorization)
const give = (token: string, vaultId = 'v1', version = 1) =>
  world.vaults.put(vaultId, vault(bearer({ sealing: world.sealing, vaultId, version }, serverUrl, token)))

test('the token goes to the URL that it is for, and to no other', async () => {
  await give('token-one')
  world.change({
    servers: [
      { name: 'server', url: 'https://mcp.test:443/mcp/' },
      { name: 'path', url: 'https://mcp.test/mcp2' },
      { name: 'query', url: 'https://mcp.test/mcp?x' },
      { name: 'host', url: 'https://other.test/mcp' },
    ],
  })
  for (const name of ['server', 'path', 'query', 'host'])
    expect((await world.post({ path: `/${name}` })).status).toBe(200)
  expect(sent()).toEqual(['Bearer token-one', undefined, undefined, undefined])
})

test('one that was changed or withdrawn goes out no more, on the same connection', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const sockets = new Set<unknown>()
  const post = async (): Promise<void> => {
    const outgoing = request({ socketPath: world.socket, agent, method: 'POST', path: '/server' })
    outgoing.once('socket', (socket) => sockets.add(socket))
    const answered = new Promise<Parameters<typeof readAll>[0]>((resolve) => outgoing.once('response', resolve))
    outgoing.end('{}')
    await readAll(await answered)
  }
  await give('token-one')
  await post()
  await give('token-two', 'v1', 2)
  await post()
  await world.vaults.put('v1', vault())
  await post()
  await give('token-three', 'v1', 3)
  world.change({ vaults: [] })
  await post()
  agent.destroy()
  expect(sent()).toEqual(['Bearer token-one', 'Bearer token-two', undefined, undefined])
  expect(sockets.size).toBe(1)
})

test('two sessions have each their own vaults, in their order', async () => {
  await give('token-one')
  await give('token-two', 'v2')
  const other = await world.openSession('sesn_2', { vaults: ['v2', 'v1'] })
  await Promise.all(Array.from({ length: 5 }, () => [world.post(), world.post({ socket: other })]).flat())
  expect(sent().filter((token) => token === 'Bearer token-one')).toHaveLength(5)
  expect(sent().filter((token) => token === 'Bearer token-two')).toHaveLength(5)
  world.hosts.received.length = 0
  await world.vaults.remove('v2')
  await world.post({ socket: other })
  expect(sent()).toEqual(['Bearer token-one'])
})

test('a server that refuses is told from one that is not reached', async () => {
  const faultOf = async () => {
    const { status, headers, text } = await world.post()
    expect(headers['www-authenticate']).toBeUndefined()
    return [status, headers['x-berth-mcp-error'], JSON.parse(text)]
  }
  const error = (message: string) => ({ type: 'error', error: { type: 'authentication', message } })
  for (const status of [401, 403]) {
    world.hosts.answer('mcp.test', json({ secret: 'of the server' }, status, { 'www-authenticate': 'Bearer x' }))
    const without = error(`mcp.test does not accept a request without a token (${status})`)
    expect(await faultOf()).toEqual([401, 'authentication', without])
    await give('token-one')
    const refused = error(`mcp.test does not accept the token of its credential (${status})`)
    expect(await faultOf()).toEqual([401, 'authentication', refused])
    await world.vaults.put('v1', vault())
  }
})

test('what does not open, or is no token, is not sent', async () => {
  const foreign = bearer({ sealing: world.sealing, vaultId: 'v9' }, serverUrl, 'token-one')
  await world.vaults.put('v1', vault(foreign))
  expect((await world.post()).headers['x-berth-mcp-error']).toBe('authentication')
  await give('token\r\nX-Injected: 1')
  expect((await world.post()).headers['x-berth-mcp-error']).toBe('authentication')
  expect(sent()).toEqual([])
})

describe('a server that answers with the token', () => {
  const token = 'canary-"token"/+é'.replace('é', '=')
  const echoes: [string, string][] = [
    ['as it is', token],
    ['in JSON', JSON.stringify({ got: token })],
    ['in a URL', `https://x.test/?t=${encodeURIComponent(token)}`],
  ]

  test.each(echoes)('%s, in its body: it does not come back', async (_name, text) => {
    await give(token)
    world.hosts.answer('mcp.test', (response) => void response.end(`before ${text} after`))
    const answer = await world.post()
    expect(answer.text).not.toContain('canary')
    expect(answer.text).toMatch(/^before .*\[redacted\].* after$/)
  })

  test('in chunks of single bytes: it does not come back, and the events do', async () => {
    await give(token)
    world.hosts.answer('mcp.test', async (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const byte of Buffer.from(`data: ${token}\n\ndata: cana\n\n`)) {
        if (!response.write(Buffer.of(byte))) await once(response, 'drain')
        await new Promise((resolve) => setImmediate(resolve))
      }
      response.end()
    })
    expect((await world.post()).text).toBe('data: [redacted]\n\ndata: cana\n\n')
  })

  test('in its headers: it does not come back', async () => {
    await give(token)
    world.hosts.answer('mcp.test', (response) => {
      response.writeHead(200, `OK ${token}`, {
        'content-type': `text/plain; x=${token}`,
        'mcp-session-id': `a${token}b`,
        'mcp-x': token,
        'x-echo': token,
      })
      response.end('fine')
    })
    const answer = await world.post()
    expect(JSON.stringify(answer)).not.toContain('canary')
    expect(answer.headers['mcp-session-id']).toBe('a[redacted]b')
  })

  test('compressed: it is refused', async () => {
    await give(token)
    world.hosts.answer('mcp.test', (response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end('x'))
    const { status, headers } = await world.post()
    expect([status, headers['x-berth-mcp-error']]).toEqual([502, 'connection'])
  })
})
