import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { authorization, type EgressWorld, openEgressWorld, ownLoopback } from '../fixture/egress-world.ts'
import { raw } from '../fixture/sandbox-call.ts'

const zone: Readonly<Record<string, readonly string[] | 'fail'>> = {
  'allowed.test': [ownLoopback()],
  'sub.wild.test': [ownLoopback()],
  'refused.test': [ownLoopback()],
  'private.test': ['10.0.0.1'],
  'mixed.test': [ownLoopback(), '169.254.169.254'],
  'six.test': [ownLoopback(), '::1'],
  'broken.test': 'fail',
  'silent.test': [ownLoopback(9)],
}
const policy = {
  type: 'limited' as const,
  hosts: [
    'allowed.test',
    '*.wild.test',
    'private.test',
    'mixed.test',
    'six.test',
    'broken.test',
    'nowhere.test',
    'silent.test',
  ],
}

let world: EgressWorld
beforeAll(async () => {
  const names = ['allowed.test', 'sub.wild.test', 'refused.test']
  world = await openEgressWorld({ zone: (name) => zone[name], policy, names })
})
afterAll(() => world[Symbol.asyncDispose]())

const get = (host: string, path = '/', more = ''): string =>
  `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n${authorization}${more}Connection: close\r\n\r\n`

/** Status and reason of what comes back for these bytes. */
async function ask(bytes: string): Promise<{ status: number; reason: string | undefined; text: string }> {
  const text = await raw(world.socket, bytes)
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1])
  return { status, reason: /x-berth-egress: (\w+)/.exec(text)?.[1], text }
}

async function newest(): Promise<object | undefined> {
  return (await world.audit.list({ session_id: 'sesn_1', limit: 1 }))[0]
}

/** Opens a tunnel; answers its connection, or the refusal's text. */
async function tunnel(authority: string, more = authorization) {
  const client = await world.dial()
  client.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${more}\r\n`)
  const [head] = await once(client, 'data')
  return { client, head: String(head) }
}

async function throughTls(authority: string, servername: string): Promise<string> {
  const { client, head } = await tunnel(authority)
  expect(head).toMatch(/^HTTP\/1\.1 200 /)
  const ca = await readFile(world.certificates.ca)
  const tls = connectTls({ socket: client, servername, ca })
  tls.write(`GET /tls HTTP/1.1\r\nHost: ${servername}\r\nConnection: close\r\n\r\n`)
  let text = ''
  tls.on('data', (chunk: Buffer) => (text += chunk.toString()))
  try {
    await once(tls, 'close')
  } catch (error) {
    text += error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
  return text
}

test('a plain request reaches an allowed host, written anew', async () => {
  const before = world.host.seen.length
  const answer = await ask(get('ALLOWED.test', '/a/..%2fb?c=%00', 'X-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n'))
  expect(answer).toMatchObject({ status: 200, reason: undefined })
  expect(answer.text).toContain('reached allowed.test /a/..%2fb?c=%00')
  expect(world.host.seen.slice(before)).toEqual([
    {
      method: 'GET',
      url: '/a/..%2fb?c=%00',
      rawHeaders: ['Host', 'allowed.test', 'X-Mine', '1', 'Connection', 'close'],
      body: '',
    },
  ])
  expect(await newest()).toMatchObject({
    protocol: 'http',
    host: 'allowed.test',
    port: 80,
    decision: 'allow',
    reason: 'allowed',
  })
})

test('bodies pass with either kind of length, and are framed anew', async () => {
  const head = (more: string) =>
    `POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n${authorization}${more}Connection: close\r\n\r\n`
  expect((await ask(`${head('Content-Length: 3\r\n')}abc`)).status).toBe(200)
  expect(world.host.seen.at(-1)).toMatchObject({ method: 'POST', body: 'abc' })
  expect(
    (await ask(`${head('Transfer-Encoding: chunked\r\n')}2;x=y\r\nab\r\n1\r\nc\r\n0\r\nTrailer: x\r\n\r\n`)).status,
  ).toBe(200)
  expect(world.host.seen.at(-1)?.body).toBe('abc')
  expect(world.host.seen.at(-1)?.rawHeaders).not.toContain('Trailer')
})

test('a tunnel carries TLS to the host that it was opened to', async () => {
  expect(await throughTls('allowed.test:443', 'allowed.test')).toContain('reached allowed.test /tls')
  expect(await throughTls('sub.wild.test:443', 'sub.wild.test')).toContain('reached sub.wild.test /tls')
  expect(await newest()).toMatchObject({ protocol: 'connect', host: 'sub.wild.test', port: 443, decision: 'allow' })
})

test('a tunnel whose TLS names another server, or none, ends before a byte has passed', async () => {
  const before = world.host.seen.length
  expect(await throughTls('allowed.test:443', 'refused.test')).toMatch(/EPROTO|ERR_SSL/)
  expect(await newest()).toMatchObject({ decision: 'deny', reason: 'server_name', host: 'allowed.test' })
  expect(await throughTls('allowed.test:443', '')).toMatch(/EPROTO|ERR_SSL/)
  const plain = await tunnel('allowed.test:443')
  plain.client.write('GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n')
  await once(plain.client.resume(), 'close')
  expect(world.host.seen.length).toBe(before)
})

test('plain HTTP inside of a tunnel is read as it is outside', async () => {
  const { client } = await tunnel('allowed.test:80')
  client.write('GET /inside HTTP/1.1\r\nHost: allowed.test\r\n\r\n')
  const [answer] = await once(client, 'data')
  expect(String(answer)).toContain('HTTP/1.1 200 OK')
  client.write('GET /again HTTP/1.1\r\nHost: allowed.test:80\r\nConnection: close\r\n\r\n')
  let text = ''
  for await (const chunk of client) text += String(chunk)
  expect(text).toContain('/again')
  for (const wrong of [
    'GET / HTTP/1.1\r\nHost: refused.test\r\n\r\n',
    'GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n',
    'CONNECT allowed.test:443 HTTP/1.1\r\n\r\n',
    'EHLO\r\n\r\n',
  ]) {
    const other = await tunnel('allowed.test:80')
    other.client.write(wrong)
    let refused = ''
    for await (const chunk of other.client) refused += String(chunk)
    expect(refused).toMatch(/^HTTP\/1\.1 40[05] /)
  }
})

test('a WebSocket passes, outside of a tunnel and inside', async () => {
  const shake = (target: string, more = '') =>
    `GET ${target} HTTP/1.1\r\nHost: allowed.test\r\n${more}Connection: Upgrade\r\nUpgrade: websocket\r\n` +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  const outside = async () => ({ client: await world.dial(), bytes: shake('http://allowed.test/ws', authorization) })
  const inside = async () => ({ client: (await tunnel('allowed.test:80')).client, bytes: shake('/ws') })
  for (const open of [outside, inside]) {
    const { client, bytes } = await open()
    client.write(bytes)
    const [head] = await once(client, 'data')
    expect(String(head)).toMatch(/^HTTP\/1\.1 101 [^]*s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/)
    client.write('frames')
    expect(String((await once(client, 'data'))[0])).toBe('frames')
    client.end()
    await once(client.resume(), 'close')
  }
})

const refusals: [string, string, number, string][] = [
  ['a host that nobody allowed', get('refused.test'), 403, 'host'],
  ['the name behind a wildcard', get('wild.test'), 403, 'host'],
  ['a name that ends like an allowed one', get('evilallowed.test'), 403, 'host'],
  ['a name below an allowed one', get('a.allowed.test'), 403, 'host'],
  ['an allowed name below another', get('allowed.test.evil.test'), 403, 'host'],
  ['another port', get('allowed.test:8080'), 403, 'port'],
  ['a host with a private address', get('private.test'), 403, 'address'],
  ['a host with one public and one metadata address', get('mixed.test'), 403, 'address'],
  ['a host with a forbidden address of the other family', get('six.test'), 403, 'address'],
  ['a host without an address', get('nowhere.test'), 502, 'unresolved'],
  ['a host about which DNS cannot say', get('broken.test'), 502, 'unresolved'],
  ['a host that does not answer', get('silent.test'), 502, 'unreachable'],
  ['TRACE', get('allowed.test').replace('GET', 'TRACE'), 405, 'method'],
  [
    'an upgrade to another protocol',
    get('allowed.test', '/', 'Upgrade: h2c\r\nConnection: upgrade\r\n'),
    400,
    'upgrade',
  ],
  ['two hosts', get('allowed.test', '/', 'Host: refused.test\r\n'), 400, 'malformed'],
  ['another Host', get('allowed.test').replace('Host: allowed.test', 'Host: refused.test'), 400, 'malformed'],
  ['no Host', get('allowed.test').replace('Host: allowed.test\r\n', ''), 400, 'malformed'],
  ['a user in the target', get('allowed.test').replace('//allowed', '//x@allowed'), 400, 'malformed'],
  ['two ports', get('allowed.test').replace('//allowed.test', '//allowed.test:80:80'), 400, 'malformed'],
  ['a target in origin form', get('allowed.test').replace('http://allowed.test', ''), 400, 'malformed'],
  ['another scheme', get('allowed.test').replace('http://', 'https://'), 400, 'malformed'],
  ['a Connection that names a header', get('allowed.test', '/', 'Connection: authorization\r\n'), 400, 'malformed'],
  ['two lengths', get('allowed.test', '/', 'Content-Length: 1\r\nContent-Length: 2\r\n'), 400, 'malformed'],
  [
    'a length and chunks',
    get('allowed.test', '/', 'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n'),
    400,
    'malformed',
  ],
  ['another encoding', get('allowed.test', '/', 'Transfer-Encoding: xchunked\r\n'), 400, 'malformed'],
  ['bare line feeds', get('allowed.test').replaceAll('\r\n', '\n'), 400, 'malformed'],
  ['a folded header', get('allowed.test', '/', 'X: a\r\n b\r\n'), 400, 'malformed'],
  ['NUL in a header', get('allowed.test', '/', 'X: a\0b\r\n'), 400, 'malformed'],
  ['a header of 40 KiB', get('allowed.test', '/', `X: ${'a'.repeat(40_000)}\r\n`), 431, 'limit'],
  ['200 headers', get('allowed.test', '/', 'X: a\r\n'.repeat(200)), 431, 'limit'],
  ['HTTP/1.0', get('allowed.test').replace('HTTP/1.1', 'HTTP/1.0'), 505, 'malformed'],
  ['no password', get('allowed.test').replace(authorization, ''), 407, 'credential'],
  [
    'another password',
    get('allowed.test').replace(authorization, 'Proxy-Authorization: Basic YTpi\r\n'),
    407,
    'credential',
  ],
  ['a tunnel without a port', `CONNECT allowed.test HTTP/1.1\r\n${authorization}\r\n`, 400, 'malformed'],
  ['a tunnel to port 0443', `CONNECT allowed.test:0443 HTTP/1.1\r\n${authorization}\r\n`, 400, 'malformed'],
  ['a tunnel to port 22', `CONNECT allowed.test:22 HTTP/1.1\r\n${authorization}\r\n`, 403, 'port'],
  [
    'a tunnel with another Host',
    `CONNECT allowed.test:443 HTTP/1.1\r\nHost: a.test\r\n${authorization}\r\n`,
    400,
    'malformed',
  ],
  [
    'a tunnel with a body',
    `CONNECT allowed.test:443 HTTP/1.1\r\n${authorization}Content-Length: 3\r\n\r\nabc`,
    400,
    'malformed',
  ],
  [
    'a tunnel by another HTTP',
    `CONNECT allowed.test:443 HTTP/2.0\r\nHost: allowed.test:443\r\n${authorization}\r\n`,
    505,
    'malformed',
  ],
  ['a tunnel to nobody', `CONNECT refused.test:443 HTTP/1.1\r\n${authorization}\r\n`, 403, 'host'],
]
test.each(refusals)('%s: refused, and nothing goes out', async (_, bytes, status, reason) => {
  const [requests, questions, connections] = [world.host.seen.length, world.dns.asked.length, world.host.connections()]
  const answer = await ask(bytes)
  expect(answer).toMatchObject({ status, reason })
  expect(answer.text).not.toMatch(/\b\d+\.\d+\.\d+\.\d+\b/)
  expect([world.host.seen.length, world.host.connections()]).toEqual([requests, connections])
  const isAsked = ['address', 'unresolved', 'unreachable'].includes(reason)
  expect(world.dns.asked.length > questions).toBe(isAsked)
  expect(await newest()).toMatchObject(reason === 'unreachable' ? { decision: 'allow' } : { decision: 'deny', reason })
})

test('a tunnel that the policy no longer allows is cut, and a new one refused', async () => {
  const { client } = await tunnel('allowed.test:80')
  try {
    world.change({ type: 'limited', hosts: [] })
    await once(client.resume(), 'close')
    expect(await ask(get('allowed.test'))).toMatchObject({ status: 403, reason: 'host' })
  } finally {
    world.change(policy)
  }
})

test('with every host allowed, addresses and low ports are refused all the same', async () => {
  world.change({ type: 'unrestricted' })
  try {
    expect((await ask(get('refused.test'))).status).toBe(200)
    expect(await ask(get('private.test'))).toMatchObject({ status: 403, reason: 'address' })
    expect(await ask(get('refused.test:25'))).toMatchObject({ status: 403, reason: 'port' })
    expect(await ask(get('127.0.0.1'))).toMatchObject({ status: 400, reason: 'malformed' })
  } finally {
    world.change(policy)
  }
})
