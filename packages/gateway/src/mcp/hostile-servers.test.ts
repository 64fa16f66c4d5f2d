import type { ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { bearer } from '../fixture/mcp-credentials.ts'
import { type McpWorld, openMcpWorld, serverUrl } from '../fixture/mcp-world.ts'
import { hostsAddress, json } from '../fixture/tls-hosts.ts'

const names = ['mcp.test', 'loop.test', 'private.test', 'mixed.test', 'foreign.test', 'nowhere.test']
const zone: Readonly<Record<string, readonly string[]>> = {
  'mcp.test': [hostsAddress],
  'foreign.test': [hostsAddress],
  'loop.test': ['127.0.0.1'],
  'private.test': ['169.254.169.254'],
  'mixed.test': [hostsAddress, '10.0.0.1'],
}
const MEBI = 1024 * 1024

let world: McpWorld
/** Of a session for which nobody is waited for long. */
let hasty: { readonly socket: string }
beforeAll(async () => {
  world = await openMcpWorld({ names: names.filter((name) => name !== 'foreign.test'), zone: (name) => zone[name] })
  hasty = { socket: await world.openSession('sesn_hasty', {}, { idleMs: 2_000 }) }
  const credential = bearer({ sealing: world.sealing }, serverUrl, 'canary-token')
  await world.vaults.put('v1', { workspace_id: 'ws', credentials: [credential] })
})
afterAll(() => world[Symbol.asyncDispose]())
beforeEach(() => {
  const servers = names.map((name) => ({ name: name.replace('.test', ''), url: `https://${name}/mcp` }))
  world.change({
    servers: [...servers, { name: 'server', url: serverUrl }],
    policy: { type: 'limited', hosts: names },
  })
  world.hosts.received.length = 0
})
const faultOf = ({ status, headers }: { status: number; headers: NodeJS.Dict<string | string[]> }) =>
  `${status} ${String(headers['x-berth-mcp-error'])}`

/** What came of an answer that may break off, and whether it did. */
async function read(given?: typeof hasty): Promise<{ status: number; bytes: number; isWhole: boolean }> {
  const incoming = await world.open(given)
  let bytes = 0
  incoming.on('data', (chunk: Buffer) => (bytes += chunk.length)).on('error', () => undefined)
  await new Promise((resolve) => incoming.once('close', resolve))
  return { status: incoming.statusCode ?? 0, bytes, isWhole: incoming.complete }
}

function drained(response: ServerResponse): Promise<unknown> {
  return new Promise((resolve) => response.once('drain', resolve))
}

async function flood(response: ServerResponse, chunk: Buffer, bytes: number): Promise<number> {
  let sent = 0
  const closed = new Promise((resolve) => response.once('close', resolve))
  while (sent < bytes && !response.destroyed) {
    sent += chunk.length
    if (!response.write(chunk)) await Promise.race([drained(response), closed])
    else await turn()
  }
  return sent
}

test('addresses that are not public are not dialled, also among others; a name without one is no connection', async () => {
  expect(faultOf(await world.post({ path: '/loop' }))).toBe('403 refused')
  expect(faultOf(await world.post({ path: '/private' }))).toBe('403 refused')
  expect(faultOf(await world.post({ path: '/mixed' }))).toBe('403 refused')
  expect(faultOf(await world.post({ path: '/nowhere' }))).toBe('502 connection')
  expect(world.hosts.received).toEqual([])
})

test('a certificate for another host is no connection, and nothing is sent', async () => {
  const answer = await world.post({ path: '/foreign' })
  expect(faultOf(answer)).toBe('502 connection')
  expect(answer.text).toContain('certificate')
  expect(world.hosts.received).toEqual([])
})

test.each([301, 302, 303, 307, 308])('a redirect (%i) is not followed', async (status) => {
  world.hosts.answer('mcp.test', (response) => {
    response.writeHead(status, { location: 'https://loop.test/?canary-token', 'content-type': 'text/html' }).end('x')
  })
  const before = world.dns.asked.length
  const answer = await world.post()
  expect(faultOf(answer)).toBe('502 connection')
  expect(answer.headers.location).toBeUndefined()
  expect(world.dns.asked.slice(before).filter((name) => name === 'loop.test')).toEqual([])
  expect(world.hosts.received).toHaveLength(1)
})

test('no answer is no connection', async () => {
  world.hosts.answer('mcp.test', () => undefined)
  expect(faultOf(await world.post(hasty))).toBe('502 connection')
  await expect.poll(() => world.hosts.received[0]?.gone.aborted).toBe(true)
})

test('many hints, hints without end, and a head that comes byte by byte, are no answer', async () => {
  world.hosts.answer('mcp.test', (response) => {
    for (let n = 0; n < 20; n++) response.writeProcessing()
    response.end('at last')
  })
  expect(faultOf(await world.post())).toBe('502 connection')
  world.hosts.answer('mcp.test', async (response) => {
    while (!response.destroyed) {
      response.writeProcessing()
      await turn()
    }
  })
  expect(faultOf(await world.post())).toBe('502 connection')
  world.hosts.answer('mcp.test', async (response) => {
    response.socket?.write('HTTP/1.1 200 OK\r\nX-Slow: ')
    while (response.socket?.writable === true) {
      response.socket.write('x')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })
  expect(faultOf(await world.post(hasty))).toBe('502 connection')
})

test.each([
  ['another protocol', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello'],
  ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['a bare line feed', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
  ['a large head', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`],
  ['no status', 'HTTP/1.1 999 Fine\r\nContent-Length: 0\r\n\r\n'],
  ['a status of an interim answer at most', 'HTTP/1.1 099 Fine\r\nContent-Length: 0\r\n\r\n'],
  ['a cut head', 'HTTP/1.1 200 OK\r\nContent-'],
])('%s is no answer', async (_name, bytes) => {
  world.hosts.answer('mcp.test', (response) => void response.socket?.end(bytes))
  expect(faultOf(await world.post())).toBe('502 connection')
})

test('what comes behind an answer is nobody’s', async () => {
  const second = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'
  world.hosts.answer('mcp.test', (response) => {
    response.socket?.end(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ngood${second}`)
  })
  expect((await world.post()).text).toBe('good')
  world.hosts.answer('mcp.test', json({ next: true }))
  expect((await world.post()).text).toBe('{"next":true}')
})

test('an answer that is announced as too long is refused, one that becomes so is cut', async () => {
  world.hosts.answer('mcp.test', (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 * MEBI }).write('{')
  })
  expect(faultOf(await world.post())).toBe('502 limit')
  const sent = Promise.withResolvers<number>()
  world.hosts.answer('mcp.test', async (response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    sent.resolve(await flood(response, Buffer.alloc(MEBI, 32), 100 * MEBI))
  })
  const answer = await read()
  expect(answer).toMatchObject({ status: 200, isWhole: false })
  expect(answer.bytes).toBeLessThanOrEqual(8 * MEBI)
  expect(await sent.promise).toBeLessThan(100 * MEBI)
})

test('a stream of events may be longer than any answer, but no event of it', async () => {
  const event = Buffer.from(`data: ${'x'.repeat(MEBI)}\r\n\r\n`)
  world.hosts.answer('mcp.test', async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    await flood(response, event, 12 * event.length)
    response.end()
  })
  expect(await read()).toEqual({ status: 200, bytes: 12 * event.length, isWhole: true })
  world.hosts.answer('mcp.test', async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    await flood(response, Buffer.from(`data: ${'x'.repeat(MEBI)}\r\n`), 100 * MEBI)
  })
  const giant = await read()
  expect(giant.isWhole).toBe(false)
  expect(giant.bytes).toBeLessThanOrEqual(8 * MEBI + 100)
})

test('an answer that breaks off, or stands still, breaks off', async () => {
  world.hosts.answer('mcp.test', async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    await turn()
    response.socket?.destroy()
  })
  expect(await read()).toMatchObject({ status: 200, isWhole: false })
  world.hosts.answer('mcp.test', (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 }).write('{"cut":')
    response.end()
  })
  expect(await read()).toMatchObject({ status: 200, isWhole: false })
  world.hosts.answer('mcp.test', (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
  })
  expect(await read(hasty)).toMatchObject({ status: 200, isWhole: false })
})

test('a client that does not read holds no more of an endless answer than a little', async () => {
  const counts = { sent: 0 }
  world.hosts.answer('mcp.test', async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    counts.sent = await flood(response, Buffer.from(`data: ${'x'.repeat(64 * 1024)}\n\n`), 100 * MEBI)
  })
  const incoming = await world.open(hasty)
  incoming.on('error', () => undefined).pause()
  await expect.poll(() => counts.sent).toBeGreaterThan(0)
  expect(counts.sent).toBeLessThan(16 * MEBI)
  incoming.destroy()
})

test('after all that, others are served', async () => {
  world.hosts.answer('mcp.test', json({ fine: true }))
  expect((await world.post()).text).toBe('{"fine":true}')
})
