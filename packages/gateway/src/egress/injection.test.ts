import { once } from 'node:events'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { SecretSession } from '../fixture/secret-session.ts'
import { allHosts, openSecretWorld, type SecretWorld } from '../fixture/secret-world.ts'

const token = 'tok-3f9a/Zq"7&x'
const variables = [
  { name: 'TOKEN', value: token, hosts: ['bound.test', '*.wild.test'] },
  { name: 'HEADER_ONLY', value: 'header-secret-1', hosts: ['bound.test'], injection: { header: true, body: false } },
  { name: 'BODY_ONLY', value: 'body-secret-1', hosts: ['bound.test'], injection: { header: false, body: true } },
]

let world: SecretWorld
let session: SecretSession
let here: string
beforeAll(async () => {
  world = await openSecretWorld(variables)
  session = world.sessions[0]
  here = session.placeholder('TOKEN')
})
afterAll(() => world[Symbol.asyncDispose]())
beforeEach(() => {
  world.host.answering = (response, { rawHeaders, body }) => void response.end([...rawHeaders, body].join('\n'))
})

/** What the host has seen of the newest request. */
function arrived(): { headers: Record<string, string>; body: string } {
  const { rawHeaders = [], body = '' } = world.host.seen.at(-1) ?? {}
  const headers: Record<string, string> = {}
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    headers[rawHeaders[at]?.toLowerCase() ?? ''] = rawHeaders[at + 1] ?? ''
  return { headers, body }
}

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`

test('a secret goes out in a header and comes back as its placeholder', async () => {
  const answer = await session.call({
    host: 'bound.test',
    headers: { authorization: `Bearer ${here}`, range: 'bytes=0-1', 'accept-encoding': 'br' },
  })
  expect(world.host.seen.at(-1)?.rawHeaders).toEqual([
    'Host',
    'bound.test',
    'authorization',
    `Bearer ${token}`,
    'Connection',
    'keep-alive',
    'Accept-Encoding',
    'identity',
  ])
  expect(answer.text).toContain(`Bearer ${here}`)
  expect(answer.text).not.toContain(token)
  expect(await world.audit.list({ session_id: session.id, limit: 2 })).toMatchObject([
    { protocol: 'tls', host: 'bound.test', port: 443, decision: 'allow', credentials: ['TOKEN'] },
    { protocol: 'connect', host: 'bound.test', decision: 'allow', credentials: [] },
  ])
})

test('user and password of Basic are replaced inside of their encoding, there and back', async () => {
  for (const [given, expected] of [
    [`user:${here}`, `user:${token}`],
    [`${session.placeholder('HEADER_ONLY')}:`, 'header-secret-1:'],
  ] as const) {
    const answer = await session.call({ host: 'bound.test', headers: { authorization: basic(given) } })
    expect(arrived().headers['authorization']).toBe(basic(expected))
    expect(answer.text).toContain(basic(given))
    expect(answer.text).not.toContain(basic(expected))
  }
  const untouched = 'Basic  bm90aGluZzpoZXJl'
  await session.call({ host: 'bound.test', headers: { authorization: untouched } })
  expect(arrived().headers['authorization']).toBe(untouched)
})

test('a secret stands in a body as a program would have written it there', async () => {
  const bodies: [type: string | undefined, body: string, expected: string][] = [
    ['application/json; charset=utf-8', `{"token":"${here}"}`, JSON.stringify({ token: token })],
    ['application/x-www-form-urlencoded', `a=1&token=${here}`, `a=1&token=tok-3f9a%2FZq%227%26x`],
    ['text/plain', `${here}${here}!`, `${token}${token}!`],
  ]
  for (const [type, body, expected] of bodies) {
    const headers = type === undefined ? {} : { 'content-type': type }
    const answer = await session.call({ host: 'bound.test', method: 'POST', headers, body })
    expect(arrived()).toMatchObject({ body: expected, headers: { 'content-length': String(expected.length) } })
    expect(answer.text.endsWith(body)).toBe(true)
  }
})

test('long bodies, and those of no length, are replaced as they pass', async () => {
  const filler = 'f'.repeat(300_000)
  const body = `${here}${filler}${here}${filler}${here}`
  const expected = `${token}${filler}${token}${filler}${token}`
  for (const headers of [{ 'content-length': String(body.length) }, { 'transfer-encoding': 'chunked' }]) {
    const answer = await session.call({ host: 'bound.test', method: 'POST', headers, body })
    expect(arrived().body === expected).toBe(true)
    expect(arrived().headers).toMatchObject({ 'transfer-encoding': 'chunked' })
    expect(answer.text.endsWith(body)).toBe(true)
    expect(await world.audit.list({ session_id: session.id, limit: 2 })).toMatchObject([
      { protocol: 'tls', credentials: ['TOKEN'] },
      { protocol: 'tls', credentials: [] },
    ])
  }
})

test('what the credential does not name stays as it is, and so does an encoded body', async () => {
  const [inHeader, inBody] = [session.placeholder('HEADER_ONLY'), session.placeholder('BODY_ONLY')]
  const given = { method: 'POST', headers: { 'x-one': inHeader, 'x-two': inBody } }
  await session.call({ host: 'bound.test', ...given, body: `${inHeader} ${inBody}` })
  expect(arrived()).toMatchObject({
    headers: { 'x-one': 'header-secret-1', 'x-two': inBody },
    body: `${inHeader} body-secret-1`,
  })
  const encoded = { method: 'POST', headers: { 'content-encoding': 'x-own' } }
  await session.call({ host: 'bound.test', ...encoded, body: here })
  expect(arrived().body).toBe(here)
})

test('an answer that is encoded all the same is decoded, and one that cannot be is refused', async () => {
  const text = `${'-'.repeat(100_000)}${token}`
  const encoders = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync }
  for (const [encoding, encode] of Object.entries(encoders)) {
    world.host.answering = (response) => response.writeHead(200, { 'content-encoding': encoding }).end(encode(text))
    const answer = await session.call({ host: 'bound.test' })
    expect(answer.headers['content-encoding']).toBeUndefined()
    expect(answer.text).toBe(`${'-'.repeat(100_000)}${here}`)
  }
  for (const encoding of ['gzip, gzip', 'compress', 'zstd']) {
    world.host.answering = (response) => response.writeHead(200, { 'content-encoding': encoding }).end('x')
    expect(await session.call({ host: 'bound.test' })).toMatchObject({ status: 502, reason: 'unreachable' })
  }
  world.host.answering = (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('no gzip')
  await expect(session.call({ host: 'bound.test' })).rejects.toThrow(/aborted|hang up/)
})

test('answers without a body, and redirects, come back as they are', async () => {
  world.host.answering = (response) => response.writeHead(200, { 'content-length': 5, 'x-secret': token }).end()
  expect(await session.call({ host: 'bound.test', method: 'HEAD' })).toMatchObject({
    headers: { 'content-length': '5', 'x-secret': here },
  })
  world.host.answering = (response) => response.writeHead(204).end()
  expect(await session.call({ host: 'bound.test' })).toMatchObject({ status: 204, text: '' })
  const before = world.host.seen.length
  world.host.answering = (response) =>
    response.writeHead(302, { location: `https://other.test/?t=${encodeURIComponent(token)}` }).end()
  expect((await session.call({ host: 'bound.test' })).headers.location).toBe(`https://other.test/?t=${here}`)
  expect(world.host.seen.length).toBe(before + 1)
})

test('events come as they are sent', async () => {
  const [next, last] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  world.host.answering = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    void next.promise.then(() => response.write(`data: ${token}\n\n`))
    void last.promise.then(() => response.end('data: end\n\n'))
  }
  const incoming = await session.send({ host: 'bound.test', headers: { authorization: here } })
  next.resolve()
  const [first] = await once(incoming, 'data')
  expect(String(first)).toBe(`data: ${here}\n\n`)
  last.resolve()
  await once(incoming.resume(), 'end')
  incoming.socket.destroy()
})

test('a WebSocket gets its secret in the handshake', async () => {
  const client = await session.connect('bound.test')
  client.write(
    'GET /ws HTTP/1.1\r\nHost: bound.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer ${here}\r\n\r\n`,
  )
  const [head] = await once(client, 'data')
  expect(String(head)).toContain(`101 Switching Protocols`)
  expect(String(head)).toContain(`X-Said: Bearer ${here}`)
  expect(arrived().headers['authorization']).toBe(`Bearer ${token}`)
  client.write('frames')
  expect(String((await once(client, 'data'))[0])).toBe('frames')
  client.destroy()
})

test('TLS ends for bound hosts alone, and speaks HTTP/1.1', async () => {
  const bound = await session.connect('below.wild.test', { alpn: ['h2', 'http/1.1'] })
  expect(bound.alpnProtocol).toBe('http/1.1')
  expect(bound.getPeerX509Certificate()?.subjectAltName).toBe('DNS:below.wild.test')
  bound.destroy()
  await expect(session.connect('bound.test', { alpn: ['h2'] })).rejects.toThrow(/alert|no application/i)
  await expect(session.connect('bound.test', { ca: world.hostCa })).rejects.toThrow()
  await expect(session.connect('other.test')).rejects.toThrow()
  const other = await session.connect('other.test', { ca: world.hostCa })
  const answer = await session.call({ host: 'other.test', over: other, headers: { authorization: here } })
  expect(answer.text).toContain(here)
  other.destroy()
})

test('secrets are those of the moment, on a connection that is open, too', async () => {
  const over = await session.connect('bound.test')
  const sent = async (): Promise<string | undefined> => {
    await session.call({ host: 'bound.test', over, headers: { authorization: `Bearer ${here}` } })
    return arrived().headers['authorization']
  }
  expect(await sent()).toBe(`Bearer ${token}`)
  await world.putVariables([{ ...variables[0], name: 'TOKEN', value: 'rotated', hosts: ['bound.test'] }])
  expect(await sent()).toBe('Bearer rotated')
  await world.removeVault()
  expect(await sent()).toBe(`Bearer ${here}`)
  await world.putVariables(variables)
  over.destroy()
})

test('a connection that the policy no longer allows is cut', async () => {
  const over = await session.connect('bound.test')
  await session.call({ host: 'bound.test', over })
  world.allow(['other.test'])
  try {
    await once(over.resume(), 'close')
    await expect(session.connect('bound.test')).rejects.toThrow('403')
  } finally {
    world.allow(allHosts)
  }
})
