import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type McpWorld, openMcpWorld, serverUrl } from '../fixture/mcp-world.ts'
import { json } from '../fixture/tls-hosts.ts'
import { raw, readAll } from '../fixture/sandbox-call.ts'

let world: McpWorld
beforeAll(async () => {
  world = await openMcpWorld({ names: ['mcp.test', 'other.test', 'port.test'] })
})
afterAll(() => world[Symbol.asyncDispose]())
beforeEach(() => {
  world.change({})
  world.hosts.received.length = 0
  world.hosts.answer('mcp.test', json({ ok: true }))
})

const errorOf = ({ status, headers }: { status: number; headers: NodeJS.Dict<string | string[]> }) => [
  status,
  headers['x-berth-mcp-error'],
]

/** Headers of a request that MCP has. */
const ours = {
  accept: 'application/json, text/event-stream',
  'content-type': 'application/json',
  'mcp-session-id': 's-0',
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'tools/call',
  'mcp-param-region': 'eu',
  'last-event-id': '7',
}

test('of a request goes on what MCP has of headers, and of the answer the same', async () => {
  world.hosts.answer(
    'mcp.test',
    json({ ok: true }, 200, {
      'mcp-session-id': 's-1',
      'mcp-protocol-version': '2025-11-25',
      'set-cookie': 'a=b',
      'cache-control': 'no-store',
      'www-authenticate': 'Bearer x',
      'x-more': '1',
    }),
  )
  const answer = await world.post({
    headers: {
      ...ours,
      authorization: 'Bearer mine',
      cookie: 'c=d',
      'x-forwarded-for': '10.0.0.1',
      'user-agent': 'runner',
      'accept-encoding': 'gzip',
    },
  })
  expect(answer.status).toBe(200)
  expect(answer.text).toBe('{"ok":true}')
  const { connection: _, 'keep-alive': __, 'transfer-encoding': ___, ...passed } = answer.headers
  expect(passed).toEqual({
    'content-type': 'application/json',
    'mcp-session-id': 's-1',
    'mcp-protocol-version': '2025-11-25',
  })
  const [received] = world.hosts.received
  expect(received).toMatchObject({ method: 'POST', url: '/mcp', body: '{"jsonrpc":"2.0"}' })
  expect(received?.headers).toEqual({
    host: 'mcp.test',
    ...ours,
    'accept-encoding': 'identity',
    'user-agent': 'berth',
    'content-length': '17',
    connection: 'close',
  })
})

test('GET and DELETE go on, and answers that are no failure of the way come as they are', async () => {
  world.hosts.answer('mcp.test', (response, { method }) => void response.writeHead(method === 'GET' ? 405 : 204).end())
  expect((await world.post({ method: 'GET' })).status).toBe(405)
  expect((await world.post({ method: 'DELETE' })).status).toBe(204)
  world.hosts.answer('mcp.test', json({ error: 'gone' }, 404))
  const gone = await world.post()
  expect([gone.status, gone.text, gone.headers['x-berth-mcp-error']]).toEqual([404, '{"error":"gone"}', undefined])
  world.hosts.answer('mcp.test', json({}, 500))
  expect(errorOf(await world.post())).toEqual([500, undefined])
  expect(world.hosts.received.map(({ method }) => method)).toEqual(['GET', 'DELETE', 'POST', 'POST'])
})

test('events come one by one, as they are sent', async () => {
  const more = Promise.withResolvers<void>()
  world.hosts.answer('mcp.test', async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    await more.promise
    response.end('data: 2\n\n')
  })
  const stream = await world.open({ method: 'GET' })
  const [first] = await once(stream, 'data')
  expect(String(first)).toBe('data: 1\n\n')
  more.resolve()
  expect(await readAll(stream)).toBe('data: 2\n\n')
})

test('a client that goes ends the request to the server', async () => {
  const began = Promise.withResolvers<AbortSignal>()
  world.hosts.answer('mcp.test', (response, { gone }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n')
    began.resolve(gone)
  })
  const stream = await world.open({ method: 'GET' })
  const gone = await began.promise
  stream.on('error', () => undefined).destroy()
  await expect.poll(() => gone.aborted).toBe(true)
})

test('the path and the query are those of the server’s URL', async () => {
  world.change({
    servers: [
      { name: 'server', url: 'https://MCP.test:443/a/../b//c/?key=1&x=%2F' },
      { name: 'bare', url: 'https://mcp.test' },
    ],
  })
  await world.post()
  await world.post({ path: '/bare' })
  expect(world.hosts.received.map(({ url }) => url)).toEqual(['/b//c/?key=1&x=%2F', '/'])
})

test.each([
  ['/other', 404],
  ['/', 400],
  ['/server/', 400],
  ['/server?x=1', 400],
  ['/server/../other', 400],
  ['/%73erver', 400],
  ['//server', 400],
  ['http://mcp.test/server', 400],
])('%s is no server', async (path, status) => {
  expect(errorOf(await world.post({ path }))).toEqual([status, 'refused'])
  expect(world.hosts.received).toEqual([])
  const [decision] = await world.audit.list({ session_id: 'sesn_1', limit: 1 })
  expect(decision).toMatchObject({ protocol: 'mcp', decision: 'deny' })
})

test.each(['PUT', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE'])('%s is refused', async (method) => {
  expect(errorOf(await world.post({ method, body: '' }))).toEqual([405, 'refused'])
  expect(world.hosts.received).toEqual([])
})

test.each([
  'POST /server HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'POST /server HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx',
  'GET /server HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx',
  'GET /server HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
  'GET /server HTTP/1.1\r\nHost: g\r\nConnection: mcp-session-id\r\n\r\n',
  'GET /server HTTP/1.1\r\nConnection: close\r\n\r\n',
  'CONNECT mcp.test:443 HTTP/1.1\r\nHost: mcp.test:443\r\n\r\n',
  'GET /server HTTP/2.0\r\nHost: g\r\n\r\n',
])('%j is refused', async (bytes) => {
  expect(await raw(world.socket, bytes)).toMatch(/^HTTP\/1\.1 (?:4\d\d|505) /)
  expect(world.hosts.received).toEqual([])
})

test('the policy decides by host, on the port of the URL, before anything is looked up', async () => {
  const servers = [
    { name: 'server', url: serverUrl },
    { name: 'port', url: 'https://port.test:8443/' },
    { name: 'other', url: 'https://other.test/' },
    { name: 'address', url: 'https://127.0.0.1/' },
    { name: 'plain', url: 'http://mcp.test/' },
  ]
  world.change({ servers, policy: { type: 'limited', hosts: ['mcp.test', 'port.test'] } })
  const before = world.dns.asked.length
  expect(errorOf(await world.post({ path: '/other' }))).toEqual([403, 'refused'])
  expect(errorOf(await world.post({ path: '/address' }))).toEqual([403, 'refused'])
  expect(errorOf(await world.post({ path: '/plain' }))).toEqual([403, 'refused'])
  expect(world.dns.asked).toHaveLength(before)
  // Nobody listens there, but it was tried.
  expect(errorOf(await world.post({ path: '/port' }))).toEqual([502, 'connection'])
  const [tried] = await world.audit.list({ session_id: 'sesn_1', limit: 1 })
  expect(tried).toMatchObject({ protocol: 'mcp', host: 'port.test', port: 8443, decision: 'allow', reason: 'allowed' })
  expect((await world.post()).status).toBe(200)
})

test('a server that is taken away is cut off, one that stays is not', async () => {
  const open: (() => void)[] = []
  world.hosts.answer('mcp.test', (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n')
    open.push(() => response.end('data: end\n\n'))
  })
  const stream = await world.open({ method: 'GET' })
  const second = await world.open({ method: 'GET' })
  const cut = new Promise((resolve) => stream.on('error', () => undefined).once('close', resolve))
  world.change({ vaults: ['v2'] })
  open[1]?.()
  expect(await readAll(second)).toContain('data: end')
  world.change({ servers: [] })
  await cut
  expect(stream.complete).toBe(false)
  expect(errorOf(await world.post())).toEqual([404, 'refused'])
})

test('a body is bounded, and so is how many requests there are at once', async () => {
  expect(errorOf(await world.post({ body: Buffer.alloc(4 * 1024 * 1024 + 1) }))).toEqual([413, 'limit'])
  expect(world.hosts.received).toEqual([])
  expect((await world.post({ body: Buffer.alloc(4 * 1024 * 1024) })).status).toBe(200)
  const answers: (() => void)[] = []
  world.hosts.answer('mcp.test', (response) => void answers.push(() => response.end()))
  const all = Array.from({ length: 32 }, () => world.post())
  await expect.poll(() => answers.length).toBe(32)
  expect(errorOf(await world.post())).toEqual([503, 'limit'])
  for (const answer of answers) answer()
  expect((await Promise.all(all)).every(({ status }) => status === 200)).toBe(true)
  world.hosts.answer('mcp.test', json({}))
  expect((await world.post()).status).toBe(200)
})
