import { once } from 'node:events'
import { join } from 'node:path'
import { type Duplex, duplexPair } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { connect } from 'node:net'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { type ByteSink, startByteSink } from '../fixture/byte-sink.ts'
import { authorization, credential, type EgressWorld, openEgressWorld, ownLoopback } from '../fixture/egress-world.ts'
import { openMcpWorld } from '../fixture/mcp-world.ts'
import { call } from '../fixture/sandbox-call.ts'
import { openSecretWorld } from '../fixture/secret-world.ts'
import { makeRoute, runGateway, temporary } from '../fixture/running-gateway.ts'
import { startStubDns } from '../fixture/stub-dns.ts'
import { Traffic } from './traffic.ts'

const MEGA = 1_000_000
const sinkAddress = ownLoopback(9)
const zone: Readonly<Record<string, readonly string[]>> = {
  'sink.test': [sinkAddress],
  'echo.test': [ownLoopback()],
}
const policy = { type: 'limited' as const, hosts: ['sink.test', 'echo.test'] }

interface Upload {
  readonly world: EgressWorld
  readonly sink: ByteSink
}

async function openWorld(uploadLimit: number | undefined): Promise<Upload & AsyncDisposable> {
  await using opened = new AsyncDisposableStack()
  const sinks = [80, 443].map((port) => startByteSink(sinkAddress, port))
  const [http, tls] = [opened.use(await sinks[0]), opened.use(await sinks[1])]
  const sink = { bytes: () => (http?.bytes() ?? 0) + (tls?.bytes() ?? 0), [Symbol.asyncDispose]: async () => {} }
  const limit = uploadLimit === undefined ? {} : { uploadLimit }
  const world = opened.use(
    await openEgressWorld({ zone: (name) => zone[name], policy, names: ['echo.test'], ...limit }),
  )
  const owned = opened.move()
  return { world, sink, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** What TLS says first: all that a tunnel wants to hear. */
async function helloFor(servername: string): Promise<Buffer> {
  const [inside, outside] = duplexPair()
  connectTls({ socket: inside, servername }).on('error', () => undefined)
  const [hello]: unknown[] = await once(outside, 'data')
  inside.destroy()
  if (!Buffer.isBuffer(hello)) throw new Error('no hello')
  return hello
}

async function openTunnel(socket: string, host: string): Promise<Duplex> {
  const client = connect(socket)
  client.on('error', () => undefined)
  client.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n${authorization}\r\n`)
  expect(String((await once(client, 'data'))[0])).toMatch(/^HTTP\/1\.1 200 /)
  client.write(await helloFor(host))
  await once(client, 'data')
  return client
}

function closeOf(client: Duplex): Promise<void> {
  return new Promise((resolve) => (client.closed ? resolve() : client.once('close', () => resolve())))
}

/** Sends until there is no more, or nobody takes more. */
async function pour(client: Duplex, bytes: number): Promise<void> {
  const chunk = Buffer.alloc(50_000, 'x')
  const closed = closeOf(client)
  for (let sent = 0; sent < bytes && !client.closed; sent += chunk.length) {
    if (!client.write(chunk)) await Promise.race([new Promise((resolve) => client.once('drain', resolve)), closed])
  }
}

const post = (socket: string, body: Buffer | string) =>
  call({
    socket,
    method: 'POST',
    path: 'http://sink.test/',
    headers: { host: 'sink.test', 'proxy-authorization': `Basic ${btoa(`berth:${credential}`)}` },
    body,
  })

async function newest(world: EgressWorld): Promise<object | undefined> {
  return (await world.audit.list({ session_id: 'sesn_1', limit: 1 }))[0]
}

test('a tunnel is cut at the byte, on record, and then nothing leaves', async () => {
  await using opened = await openWorld(MEGA)
  const { world, sink } = opened
  const client = await openTunnel(world.socket, 'sink.test')
  const other = await openTunnel(world.socket, 'sink.test')
  await pour(client, 3 * MEGA)
  await closeOf(client)
  await expect.poll(sink.bytes).toBe(MEGA)
  expect(await world.traffic.total('sesn_1')).toEqual({ bytes_sent: MEGA, bytes_received: 2 })
  const cut = { decision: 'deny', reason: 'upload_limit', host: 'sink.test' }
  expect(await newest(world)).toMatchObject({ ...cut, protocol: 'connect', port: 443 })
  const asked = world.dns.asked.length
  const refused = await post(world.socket, 'a')
  expect(refused).toMatchObject({ status: 403, headers: { 'x-berth-egress': 'upload_limit' } })
  expect(refused.text).toContain('1000000 bytes that it may send in all (BERTH_EGRESS_UPLOAD_LIMIT)')
  expect(await newest(world)).toMatchObject({ ...cut, protocol: 'http', port: 80 })
  expect(world.dns.asked.length).toBe(asked)
  other.write('one more')
  await closeOf(other.resume())
  expect(sink.bytes()).toBe(MEGA)
})

test('a plain request is cut at the byte, and told why', async () => {
  await using opened = await openWorld(MEGA)
  const { world, sink } = opened
  const answer = await post(world.socket, Buffer.alloc(3 * MEGA))
  expect(answer).toMatchObject({ status: 403, headers: { 'x-berth-egress': 'upload_limit' } })
  await expect.poll(sink.bytes).toBe(MEGA)
  expect(await world.traffic.total('sesn_1')).toMatchObject({ bytes_sent: MEGA })
  const decisions = await world.audit.list({ session_id: 'sesn_1', limit: 10 })
  expect(decisions.map(({ reason }) => reason)).toEqual(['upload_limit', 'allowed'])
})

test('what goes by different ways is one sum, and what comes back is counted', async () => {
  await using opened = await openWorld(undefined)
  const { world, sink } = opened
  const client = await openTunnel(world.socket, 'sink.test')
  await pour(client, MEGA)
  const slow = connect(world.socket)
  slow.write(
    `POST http://sink.test/ HTTP/1.1\r\nHost: sink.test\r\n${authorization}Content-Length: 300000\r\n\r\n${'y'.repeat(300_000)}`,
  )
  await expect.poll(sink.bytes).toBeGreaterThan(1_300_000)
  const toSink = await world.traffic.total('sesn_1')
  expect(toSink).toEqual({ bytes_sent: sink.bytes(), bytes_received: 1 })
  const socket = connect(world.socket)
  socket.write(
    `GET http://echo.test/ HTTP/1.1\r\nHost: echo.test\r\n${authorization}Connection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  await once(socket, 'data')
  const before = await world.traffic.total('sesn_1')
  let echoed = 0
  socket.on('data', (chunk: Buffer) => (echoed += chunk.length))
  socket.write(Buffer.alloc(200_000))
  await expect.poll(() => echoed).toBe(200_000)
  const after = await world.traffic.total('sesn_1')
  expect(after.bytes_sent - before.bytes_sent).toBe(200_000)
  expect(after.bytes_received - before.bytes_received).toBe(200_000)
  expect(before.bytes_received).toBeGreaterThan(100)
  for (const each of [client, slow, socket]) each.destroy()
})

test('other sessions, and the same one after a restart, are counted from what is on record', async () => {
  await using opened = await openWorld(MEGA)
  const { world } = opened
  const client = await openTunnel(world.socket, 'sink.test')
  await pour(client, 3 * MEGA)
  await world.traffic.save()
  const logger = pino({ level: 'silent' })
  await using again = new Traffic({ record: world.audit, limit: MEGA + 10, logger })
  const account = again.account('sesn_1')
  expect(account.take(100)).toBe(0)
  await account.ready()
  expect([account.take(100), account.isSpent, account.take(1)]).toEqual([10, true, 0])
  const other = again.account('sesn_2')
  await other.ready()
  expect(other.take(100)).toBe(100)
  await Promise.all([again.save(), again.save()])
  expect(await world.audit.findTraffic('sesn_1')).toEqual({ bytes_sent: MEGA + 10, bytes_received: 1 })
  expect(await world.audit.findTraffic('sesn_2')).toEqual({ bytes_sent: 100, bytes_received: 0 })
  await again.forget('sesn_2')
  expect(await again.total('sesn_2')).toEqual({ bytes_sent: 100, bytes_received: 0 })
  expect(await again.total('nobody')).toEqual({ bytes_sent: 0, bytes_received: 0 })
})

test('when what leaves cannot be put on record, it ends soon', async () => {
  await using opened = await openWorld(undefined)
  const { world, sink } = opened
  const client = await openTunnel(world.socket, 'sink.test')
  await pour(client, MEGA)
  await world.audit[Symbol.asyncDispose]()
  await pour(client, 20 * MEGA)
  await closeOf(client)
  expect(sink.bytes()).toBeLessThan(6 * MEGA)
})

test('a gateway that is killed forgets at most the last 4 MiB', async () => {
  await using dir = await temporary()
  await using sink = await startByteSink(sinkAddress, 443)
  await using dns = await startStubDns((name) => zone[name])
  const env = {
    ANTHROPIC_API_KEY: 'key',
    BERTH_EGRESS_DNS: dns.server,
    BERTH_EGRESS_NETWORKS: sinkAddress,
    BERTH_EGRESS_UPLOAD_LIMIT: '30MB',
  }
  const state = join(dir.path, 'state')
  const owner_uid = process.getuid?.() ?? 0
  const egress = { socket_path: join(dir.path, 'e.sock'), owner_uid, credential, policy, placeholders: [] }
  const page = { before: undefined, limit: 1 }
  {
    await using gateway = await runGateway(state, env)
    await gateway.client.route('sesn_1', await makeRoute(dir.path, 'a', { egress }))
    await pour(await openTunnel(egress.socket_path, 'sink.test'), 20 * MEGA)
    await expect.poll(sink.bytes, { timeout: 20_000 }).toBeGreaterThan(20 * MEGA)
    expect((await gateway.client.egress('sesn_1', page)).bytes_sent).toBe(sink.bytes())
    await gateway.kill('SIGKILL')
  }
  await using gateway = await runGateway(state, env)
  const { bytes_sent } = await gateway.client.egress('sesn_1', page)
  expect(bytes_sent).toBeLessThanOrEqual(sink.bytes())
  expect(bytes_sent).toBeGreaterThan(sink.bytes() - 4.1 * 2 ** 20)
  const client = await openTunnel(egress.socket_path, 'sink.test')
  const before = sink.bytes()
  await pour(client, 20 * MEGA)
  await closeOf(client)
  await expect.poll(async () => (await gateway.client.egress('sesn_1', page)).decisions[0]?.reason).toBe('upload_limit')
  expect(sink.bytes() - before).toBeLessThanOrEqual(30 * MEGA - bytes_sent)
})

test('where TLS ends in the gateway, what is said inside counts', async () => {
  const token = { name: 'TOKEN', value: 'secret-value-1', hosts: ['bound.test'] }
  await using world = await openSecretWorld([token], 30, MEGA)
  const [session] = world.sessions
  const body = Buffer.alloc(300_000, 'b')
  const upload = () =>
    session.call({ host: 'bound.test', method: 'POST', headers: { 'x-token': session.placeholder('TOKEN') }, body })
  for (let n = 0; n < 3; n++) expect((await upload()).status).toBe(200)
  const { bytes_sent, bytes_received } = await world.traffic.total(session.id)
  expect(bytes_sent).toBeGreaterThan(900_000)
  expect(bytes_sent).toBeLessThan(909_000)
  expect(bytes_received).toBeGreaterThan(900_000)
  expect(await upload()).toMatchObject({ status: 403, reason: 'upload_limit' })
  expect(world.host.seen.length).toBe(3)
  expect((await world.traffic.total(session.id)).bytes_sent).toBe(MEGA)
  const [newest] = await world.audit.list({ session_id: session.id, limit: 1 })
  expect(newest).toMatchObject({ protocol: 'tls', host: 'bound.test', decision: 'deny', reason: 'upload_limit' })
})

test('what goes to MCP servers counts, and is cut', async () => {
  await using world = await openMcpWorld({ names: ['mcp.test'], uploadLimit: 100_000 })
  world.change({ vaults: [] })
  world.hosts.answer('mcp.test', (response) => void response.end('{}'))
  const post = () => world.post({ body: JSON.stringify({ jsonrpc: '2.0', padding: 'p'.repeat(60_000) }) })
  expect((await post()).status).toBe(200)
  const { bytes_sent } = await world.parts.traffic.total('sesn_1')
  expect(bytes_sent).toBeGreaterThan(60_000)
  expect(bytes_sent).toBeLessThan(60_600)
  for (const _ of ['cut', 'refused']) {
    const refused = await post()
    expect(refused).toMatchObject({ status: 403, headers: { 'x-berth-mcp-error': 'limit' } })
    expect(refused.text).toContain('BERTH_EGRESS_UPLOAD_LIMIT')
  }
  const decisions = await world.audit.list({ session_id: 'sesn_1', limit: 3 })
  expect(decisions.map(({ protocol, reason }) => `${protocol} ${reason}`)).toEqual([
    'mcp upload_limit',
    'mcp upload_limit',
    'mcp allowed',
  ])
})
