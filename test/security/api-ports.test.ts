/** The listener for ports of sandboxes, asked with keys and signed URLs that are not good for it. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type Clock, systemClock } from '../../packages/server/src/domain/clock.ts'
import { PortAddresses } from '../../packages/server/src/domain/port-address.ts'
import { type PortGrant, PortTokens } from '../../packages/server/src/domain/port-token.ts'
import { KeyCheck } from '../../packages/server/src/http/key-check.ts'
import { KeyWatch } from '../../packages/server/src/http/key-watch.ts'
import { createPortServer, PortListener } from '../../packages/server/src/http/ports/port-listener.ts'
import { serveApp, type TestServer } from '../../packages/server/test/serve-app.ts'
import { say } from './api/raw.ts'
import { Tally } from './tally.ts'

const tally = new Tally('ports')
const sessionId = 'sesn_01ARZ3NDEKTSV4RRFFQ69G5FAV'
const made = z.object({ id: z.string(), key: z.string() })
const opened = new AsyncDisposableStack()
const tokens = new PortTokens('a secret')
let away = 0
const clock: Clock = { now: () => new Date(systemClock.now().getTime() + away) }
let server: TestServer
let addresses: PortAddresses
let port: number
/** What the agent's server was sent. */
let reached = ''

async function listening(tcp: Server): Promise<number> {
  tcp.listen(0, '127.0.0.1')
  await once(tcp, 'listening')
  const address = tcp.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Answers one request, or goes on saying something over a WebSocket. */
function serveAgent(socket: Socket): void {
  socket.on('error', () => undefined).setEncoding('latin1')
  socket.once('data', (data: string) => {
    reached += data
    if (!/^upgrade:/im.test(data)) return void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi')
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
    const talk = setInterval(() => socket.write('more'), 50)
    return void socket.once('close', () => clearInterval(talk))
  })
}

beforeAll(async () => {
  server = opened.use(await serveApp({}, { clock }))
  const agent = createServer(serveAgent)
  const agentPort = await listening(agent)
  opened.defer(() => void agent.close())
  const http = createPortServer()
  port = await listening(http)
  addresses = new PortAddresses('localhost', port)
  const logger = pino({ level: 'silent' })
  const keys = opened.use(new KeyWatch({ store: server.store, clock, logger }))
  const ports = {
    sandboxOf: () => Promise.resolve('sbx_1'),
    connect: () => Promise.resolve(connect(agentPort, '127.0.0.1')),
  }
  const check = new KeyCheck({ store: server.store, clock })
  const deps = { store: server.store, keys, check, engine: { ports }, addresses, tokens, clock, logger }
  opened.use(new PortListener(http, deps))
})
afterAll(async () => {
  await opened.disposeAsync()
  tally.end()
})

async function makeKey(body: object = {}): Promise<z.infer<typeof made>> {
  const init = { method: 'POST', body: JSON.stringify({ name: 'k', ...body }) }
  return made.parse(await (await server.fetch('/berth/v1/keys', init)).json())
}

const sign = (keyId: string, grant: Partial<PortGrant> = {}): string =>
  tokens.sign({
    workspaceId: 'wrkspc_test',
    keyId,
    sessionId,
    sandboxId: 'sbx_1',
    port: 8000,
    method: 'any',
    expires: clock.now().getTime() + 7_200_000,
    ...grant,
  })

const revoke = (id: string): Promise<Response> => server.fetch(`/berth/v1/keys/${id}/revoke`, { method: 'POST' })
const inAnHour = (): string => new Date(clock.now().getTime() + 3_600_000).toISOString()
const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n'
const host = (): string => new URL(addresses.originOf({ sessionId, port: 8000 })).host
const request = (headers: string, { method = 'GET', token = '' } = {}): string =>
  `${method} /${token === '' ? '' : `?berth_token=${token}`} HTTP/1.1\r\nHost: ${host()}\r\n${headers}\r\n`

test('keys and signed URLs that have ended, or that only read', async () => {
  const [revoked, expired, reading] = [
    await makeKey(),
    await makeKey({ expires_at: inAnHour() }),
    await makeKey({ scope: 'read' }),
  ]
  const [ofRevoked, ofExpired] = [sign(revoked.id), sign(expired.id)]
  await revoke(revoked.id)
  away += 3_600_000
  const as = (key: string) => `Authorization: Bearer ${key}\r\n`
  const close = 'Connection: close\r\n'
  reached = ''
  const tried: Record<string, [words: string, status: number]> = {
    'no key': [request(close), 401],
    'a key that nobody has': [request(as('berth_nobody') + close), 401],
    'a revoked key': [request(as(revoked.key) + close), 401],
    'an expired key': [request(as(expired.key) + close), 401],
    'an expired key, to a WebSocket': [request(as(expired.key) + upgrade), 401],
    'a URL of a revoked key': [request(close, { token: ofRevoked }), 401],
    'a URL of an expired key': [request(close, { token: ofExpired }), 401],
    'a URL of a key that never was': [request(close, { token: sign('apikey_none') }), 401],
    'a URL that has expired': [request(close, { token: sign(reading.id, { expires: clock.now().getTime() }) }), 401],
    'a URL of another port': [request(close, { token: sign(reading.id, { port: 22 }) }), 403],
    'a URL of another session': [request(close, { token: sign(reading.id, { sessionId: 'sesn_1' }) }), 403],
    'a URL of another sandbox': [request(close, { token: sign(reading.id, { sandboxId: 'sbx_2' }) }), 403],
    'a key for reading that writes': [request(as(reading.key) + close, { method: 'POST' }), 403],
    'a key for reading that deletes': [request(as(reading.key) + close, { method: 'DELETE' }), 403],
    'a key for reading, to a WebSocket': [request(as(reading.key) + upgrade), 403],
    'two different keys': [request(`${as(reading.key)}x-api-key: ${server.key}\r\n${close}`), 401],
  }
  const found: Record<string, number> = {}
  for (const [name, [words]] of Object.entries(tried)) found[name] = (await say(port, words)).statuses[0] ?? 0
  tally.expectAll(found, Object.fromEntries(Object.entries(tried).map(([name, [, status]]) => [name, status])))
  expect(reached).toBe('')
  expect((await say(port, request(as(reading.key) + close))).statuses).toEqual([200])
  expect(reached).not.toContain(reading.key)
})

test('a WebSocket ends with its key, and with the key of its URL', async () => {
  const [revoked, expiring, signing] = [await makeKey(), await makeKey({ expires_at: inAnHour() }), await makeKey()]
  const open = async (words: string): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined).write(words)
    const [data] = await once(socket, 'data')
    expect(String(data)).toMatch(/^HTTP\/1\.1 101 /)
    return socket.resume()
  }
  const kept = await open(request(`x-api-key: ${server.key}\r\n${upgrade}`))
  const ending = [
    await open(request(`x-api-key: ${revoked.key}\r\n${upgrade}`)),
    await open(request(`x-api-key: ${expiring.key}\r\n${upgrade}`)),
    await open(request(upgrade, { token: sign(signing.id) })),
  ]
  const ended = Promise.all(ending.map((socket) => once(socket, 'close')))
  await Promise.all([revoke(revoked.id), revoke(signing.id)])
  away += 3_600_000
  const began = performance.now()
  await ended
  const took = performance.now() - began
  for (const _ of ending) tally.count(took < 5_000)
  expect(took).toBeLessThan(5_000)
  await once(kept, 'data')
  kept.destroy()
})
