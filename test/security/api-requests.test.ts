/** Requests that are too large, too deep, too slow, or understood differently by whoever stands before the server. */
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { serveApp, type TestServer } from '../../packages/server/test/serve-app.ts'
import { drip, pour, say } from './api/raw.ts'
import { Tally } from './tally.ts'

const tally = new Tally('requests')
const GIB = 2 ** 30
/** More than can be poured before a refused client is left. */
const ENDLESS = 8 * GIB
let server: TestServer
beforeAll(async () => {
  server = await serveApp()
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  tally.end()
})

const body = '{"name":"A","model":"m"}'
const host = (at = server): string => `Host: 127.0.0.1:${at.port}\r\n`
const ours = (at = server): string => `${host(at)}x-api-key: ${at.key}\r\n`
const post = (headers: string, content: string, at = server): string =>
  `POST /v1/agents HTTP/1.1\r\n${ours(at)}content-type: application/json\r\n${headers}\r\n${content}`
const get = (path: string, headers = ''): string => `GET ${path} HTTP/1.1\r\n${ours()}${headers}\r\n`
const inChunks = (content: string): string => `${content.length.toString(16)}\r\n${content}\r\n0\r\n\r\n`
const lines = (count: number): string => Array.from({ length: count }, (_, n) => `a${n}: b\r\n`).join('')

async function agents(): Promise<number> {
  return (await server.client.beta.agents.list({ limit: 100 })).data.length
}

async function alive(): Promise<void> {
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
}

test('two readings of one request: where they could differ it is refused', async () => {
  const refused: Record<string, string> = {
    'transfer-encoding xchunked': post('Transfer-Encoding: xchunked\r\n', inChunks(body)),
    'transfer-encoding chunked, identity': post('Transfer-Encoding: chunked, identity\r\n', inChunks(body)),
    'transfer-encoding gzip, chunked': post('Transfer-Encoding: gzip, chunked\r\n', inChunks(body)),
    'transfer-encoding twice': post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', inChunks(body)),
    'length and chunks': post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', inChunks(body)),
    'two lengths': post('Content-Length: 24\r\nContent-Length: 5\r\n', body),
    'a negative length': post('Content-Length: -1\r\n', body),
    'a length beyond all numbers': post('Content-Length: 99999999999999999999999\r\n', body),
    'a length of letters': post('Content-Length: 0x18\r\n', body),
    'a body longer than its length': post('Content-Length: 10\r\n', body),
    'a chunk beyond all numbers': post('Transfer-Encoding: chunked\r\n', `fffffffffffffffff\r\n${body}`),
    'a chunk of minus one': post('Transfer-Encoding: chunked\r\n', `-1\r\n${body}\r\n0\r\n\r\n`),
    'a megabyte beside a chunk’s size': post(
      'Transfer-Encoding: chunked\r\n',
      `18;${'x'.repeat(1_000_000)}\r\n${body}`,
    ),
    'another host in the request line': `GET http://evil.example/v1/agents HTTP/1.1\r\n${ours()}\r\n`,
    'two hosts': get('/v1/agents', 'Host: evil.example\r\n'),
    'no host': `GET /v1/agents HTTP/1.1\r\nx-api-key: ${server.key}\r\n\r\n`,
    'a host with a user': `GET /v1/agents HTTP/1.1\r\nHost: localhost@evil.example\r\nx-api-key: ${server.key}\r\n\r\n`,
    'a host with a path': `GET /v1/agents HTTP/1.1\r\nHost: localhost/healthz?\r\nx-api-key: ${server.key}\r\n\r\n`,
    'two keys': get('/v1/agents', 'x-api-key: other\r\n'),
    'two authorizations': get('/v1/agents', 'authorization: Bearer a\r\nauthorization: Bearer b\r\n'),
    'lines without carriage returns': `GET /v1/agents HTTP/1.1\n${ours()}\n`,
    'a header over two lines': get('/v1/agents', 'x: a\r\n b\r\n'),
    'a NUL in a header': get('/v1/agents', 'x: a\u0000b\r\n'),
    'a space before the colon': get('/v1/agents', 'x : a\r\n'),
    'another protocol': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'no protocol at all': '\u0016\u0003\u0001\u0002\r\n\r\n',
    TRACE: `TRACE /v1/agents HTTP/1.1\r\n${ours()}\r\n`,
    TRACK: `TRACK /v1/agents HTTP/1.1\r\n${ours()}\r\n`,
    CONNECT: `CONNECT evil.example:443 HTTP/1.1\r\n${ours()}\r\n`,
    'CONNECT with two targets': `CONNECT localhost:443@evil.example:80 HTTP/1.1\r\n${ours()}\r\n`,
    'a method in other letters': `get /v1/agents HTTP/1.1\r\n${ours()}\r\n`,
    'OPTIONS of everything': `OPTIONS * HTTP/1.1\r\n${ours()}\r\n`,
    'an expectation that nobody knows': post('Expect: something\r\nContent-Length: 24\r\n', body),
    'a path with dot segments': get('/healthz/../v1/agents'),
    'a path with encoded dot segments': get('/healthz/%2e%2E/v1/agents'),
    'a path with backslashes': get(String.raw`/healthz/..\v1\agents`),
    'a path that begins twice': get('//v1/agents'),
    'a path in capitals': get('/V1/agents'),
    'a path with an encoded slash': get('/v1%2fagents'),
    'a path with a parameter': get('/v1;a=b/agents'),
    'a path with a NUL': get('/v1/agents%00'),
    'a path of 20 kB': get(`/v1/agents/${'x'.repeat(20_000)}`),
    '10,000 headers': get('/v1/agents', lines(10_000)),
    'a header of a megabyte': get('/v1/agents', `x: ${'y'.repeat(1_000_000)}\r\n`),
  }
  const before = await agents()
  const found: Record<string, boolean> = {}
  await Promise.all(
    Object.entries(refused).map(async ([name, words]) => {
      const { statuses, isClosed } = await say(server.port, words)
      found[name] = statuses.every((status) => status >= 400 && status < 500) && (statuses.length > 0 || isClosed)
    }),
  )
  tally.expectAll(found, Object.fromEntries(Object.keys(refused).map((name) => [name, true])))
  expect(await agents()).toBe(before)
})

test('an odd header gives nobody another route or another right', async () => {
  const agent = await server.client.beta.agents.create({ name: 'A', model: 'm' })
  const tried = {
    'a method in a header': 'x-http-method-override: DELETE\r\nx-method-override: DELETE\r\n',
    'a path in a header': 'x-original-url: /berth/v1/keys\r\nx-rewrite-url: /berth/v1/keys\r\n',
    'an upgrade to HTTP/2': 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n',
    'an upgrade to a WebSocket': 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n',
    'its key named as the connection’s': 'Connection: x-api-key\r\n',
  }
  const found: Record<string, boolean> = {}
  for (const [name, headers] of Object.entries(tried)) {
    const { statuses, text } = await say(server.port, get(`/v1/agents/${agent.id}`, headers))
    found[name] = statuses.join() === '200' && text.includes(agent.id)
  }
  tally.expectAll(found, Object.fromEntries(Object.keys(tried).map((name) => [name, true])))
})

test('what follows a request on its connection is a request of its own', async () => {
  const close = 'Connection: close\r\n'
  const keyless = `GET /v1/agents HTTP/1.1\r\n${host()}${close}\r\n`
  const behind = await say(server.port, post('Content-Length: 24\r\n', body) + keyless)
  const many = await say(server.port, get('/healthz').repeat(499) + get('/healthz', close))
  tally.expectAll(
    { 'one without a key behind one with it': behind.statuses, '500 at once': many.statuses.length },
    { 'one without a key behind one with it': [200, 401], '500 at once': 500 },
  )
})

test('bodies that are compressed, mistyped or not whole are refused', async () => {
  const gzip = gzipSync(Buffer.alloc(50_000_000, 'x'))
  const tried: [string, RequestInit][] = [
    ['a gzip bomb', { body: gzip, headers: { 'content-encoding': 'gzip' } }],
    ['brotli that is none', { body, headers: { 'content-encoding': 'br' } }],
    ['deflate in deflate', { body, headers: { 'content-encoding': 'deflate, deflate' } }],
    ['JSON as text', { body, headers: { 'content-type': 'text/plain' } }],
    ['JSON as a form', { body, headers: { 'content-type': 'application/x-www-form-urlencoded' } }],
    ['JSON as a form of parts', { body, headers: { 'content-type': 'multipart/form-data; boundary=x' } }],
    ['JSON in another alphabet', { body: Buffer.from(body, 'utf16le') }],
    ['bytes that are no UTF-8', { body: Buffer.from([0x7b, 0xff, 0x7d]) }],
    ['NaN', { body: '{"name":NaN}' }],
    ['a number beyond all', { body: '{"name":"A","model":"m","version":1e999}' }],
    ['a comment', { body: '{"name":"A",/* */"model":"m"}' }],
    ['a lone surrogate', { body: String.raw`{"name":"\ud800","model":"m"}` }],
    ['a list for a text', { body: '{"name":["A"],"model":"m"}' }],
    ['the name of a role', { body: '{"name":"A","model":"m","role":"admin"}' }],
    ['the name of a workspace', { body: '{"name":"A","model":"m","workspace_id":"wrkspc_other"}' }],
    ['the prototype', { body: '{"name":"A","model":"m","__proto__":{"polluted":1}}' }],
    ['the constructor’s prototype', { body: '{"name":"A","model":"m","constructor":{"prototype":{"polluted":1}}}' }],
    ['the prototype below', { body: '{"name":"A","model":{"id":"m","__proto__":{"polluted":1}}}' }],
  ]
  const before = await agents()
  const found: Record<string, number> = {}
  for (const [name, init] of tried) found[name] = (await server.fetch('/v1/agents', { method: 'POST', ...init })).status
  tally.expectAll(found, Object.fromEntries(tried.map(([name]) => [name, 400])))
  expect(await agents()).toBe(before)
  expect({}).not.toHaveProperty('polluted')
})

test('12 MB of JSON cost no more than reading them', async () => {
  const fill = (part: string, ends: [string, string]) => ends[0] + part.repeat((12 * 2 ** 20) / part.length) + ends[1]
  const tried = {
    'fields of one name': fill('"a":1,', ['{', '"b":1}']),
    'fields of many names': `{${Array.from({ length: 800_000 }, (_, n) => `"a${n}":1`).join(',')}}`,
    'empty lists': fill('[],', ['{"name":[', '1]}']),
    'empty objects': fill('{},', ['{"name":[', '1]}']),
    numbers: fill('1,', ['{"name":[', '1]}']),
    depth: fill('[', ['', '']),
    'one text of escapes': fill(String.raw`\u0041`, ['{"name":"', '"}']),
    'one text of quotes': fill(String.raw`\"`, ['{"name":"', '"}']),
    'one text without an end': fill('x', ['{"name":"', '']),
  }
  // Of the processor, as others use it too.
  const ask = async (text: string) => {
    const before = process.cpuUsage()
    const answer = await server.fetch('/v1/agents', { method: 'POST', body: text, headers: { connection: 'close' } })
    expect((await answer.text()).length).toBeLessThan(1_000)
    const { user, system } = process.cpuUsage(before)
    return { status: answer.status, ms: (user + system) / 1_000 }
  }
  await ask(fill('x', ['{"name":"', '"}']))
  const floor = (await ask(fill('x', ['{"name":"', '"}']))).ms
  const found: Record<string, boolean> = {}
  const costs: string[] = []
  for (const [name, text] of Object.entries(tried)) {
    const { status, ms } = await ask(text)
    costs.push(`${name} ${ms.toFixed(0)}`)
    found[name] = status === 400 && ms < 3 * floor + 500
  }
  process.stdout.write(`12 MB of JSON, ms of the processor: one text ${floor.toFixed(0)}, ${costs.join(', ')}\n`)
  tally.expectAll(found, Object.fromEntries(Object.keys(tried).map((name) => [name, true])))
})

test('8 GiB are not read to their end, and not kept', async () => {
  const length = `Content-Length: ${ENDLESS}\r\n`
  const chunks = 'Transfer-Encoding: chunked\r\n'
  const tried = {
    'of JSON with its length': post(length, ''),
    'of JSON in chunks': post(chunks, ''),
    'without a key': `POST /v1/agents HTTP/1.1\r\n${host()}${length}\r\n`,
    'to no route': `POST /v1/nothing HTTP/1.1\r\n${ours()}${chunks}\r\n`,
    'as a file of no session': `PUT /berth/v1/sessions/sesn_1/files/content?path=a HTTP/1.1\r\n${ours()}${length}\r\n`,
  }
  const found: Record<string, boolean> = {}
  for (const [name, head] of Object.entries(tried)) {
    const before = process.memoryUsage().rss
    const { poured, statuses } = await pour(server.port, head, ENDLESS)
    const grown = (process.memoryUsage().rss - before) / 2 ** 20
    // What the server reads and throws away so that an honest client gets to read its answer, and what is under way.
    found[name] = poured < 2 * GIB && grown < 200 && statuses.every((status) => status >= 400 && status < 500)
    expect(`${name}: ${(poured / 2 ** 20).toFixed(0)} MiB poured, ${grown.toFixed(0)} kept: ${found[name]}`).toMatch(
      /true$/,
    )
  }
  tally.expectAll(found, Object.fromEntries(Object.keys(tried).map((name) => [name, true])))
  await alive()
})

test('who writes slowly is cut off, and holds up nobody', async () => {
  // Long enough for those who are not slow, on a machine that is.
  const limits = { headersTimeout: 2_000, requestTimeout: 4_000, connectionsCheckingInterval: 100 }
  await using impatient = await serveApp({}, { limits })
  const { port } = impatient
  const begun = (path: string): string => `GET ${path} HTTP/1.1\r\n`
  const tried = {
    'a byte of a header at a time': drip(port, `${begun('/v1/agents')}${ours(impatient)}x: `, 100),
    'a byte of a body at a time': drip(port, post('Content-Length: 1000000\r\n', '{"name":"', impatient), 100),
    'nothing after the first line': drip(port, begun('/v1/agents'), 60_000),
    'nothing of its body': drip(port, post('Content-Length: 1000000\r\n', '', impatient), 60_000),
    'half a chunk': drip(port, post('Transfer-Encoding: chunked\r\n', '10\r\n{', impatient), 60_000),
  }
  const crowd = Array.from({ length: 200 }, () => drip(port, `${begun('/')}${ours(impatient)}x: `, 100))
  for (let n = 0; n < 20; n++) expect((await fetch(`${impatient.url}/healthz`)).status).toBe(200)
  const found: Record<string, boolean> = {}
  for (const [name, heard] of Object.entries(tried)) {
    const { isClosed, statuses } = await heard
    found[name] = isClosed && statuses.every((status) => status >= 400 && status < 500)
  }
  tally.expectAll(found, Object.fromEntries(Object.keys(tried).map((name) => [name, true])))
  for (const { isClosed } of await Promise.all(crowd)) tally.count(isClosed)
  expect([...server.logged, ...impatient.logged]).toEqual([])
})
