import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { makeRoute, runGateway, type RunningGateway, temporary } from './fixture/running-gateway.ts'
import { call, raw, streamed } from './fixture/sandbox-call.ts'
import { answerShortly, startUpstream, type UpstreamServer } from './fixture/upstream-server.ts'

const patient = { timeout: 30_000 }

let directory: Awaited<ReturnType<typeof temporary>>
let upstream: UpstreamServer
let gateway: RunningGateway
let socket: string

beforeAll(async () => {
  directory = await temporary()
  upstream = await startUpstream(answerShortly)
  gateway = await runGateway(`${directory.path}/state`, {
    ANTHROPIC_BASE_URL: upstream.url,
    ANTHROPIC_API_KEY: 'k-1234',
  })
  const route = await makeRoute(directory.path, 's', { models: ['m'] })
  await gateway.client.route('s', route)
  socket = route.socket_path
})

beforeEach(() => {
  upstream.received.length = 0
})

afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
  await directory?.[Symbol.asyncDispose]()
})

const body = JSON.stringify(streamed)
const head = (target: string, ...headers: string[]) =>
  [`POST ${target} HTTP/1.1`, 'Host: gw', 'Content-Type: application/json', ...headers, '', ''].join('\r\n')
const whole = (target: string, ...headers: string[]) =>
  `${head(target, `Content-Length: ${body.length}`, 'Connection: close', ...headers)}${body}`

describe('a closed list of targets', () => {
  test.each([
    ['GET', '/v1/messages', 405],
    ['PUT', '/v1/messages?beta=true', 405],
    ['OPTIONS', '/v1/messages', 405],
    ['TRACE', '/v1/messages', 405],
    ['POST', '/v1/messages?beta=false', 404],
    ['POST', '/v1/messages?beta=true&x=1', 404],
    ['POST', '/v1/messages/', 404],
    ['POST', '/v1//messages', 404],
    ['POST', '/v1/messages%2f', 404],
    ['POST', '/v1/messages/../files', 404],
    ['POST', '/v1/messages/batches', 404],
    ['POST', '/v1/files', 404],
    ['GET', '/v1/models', 404],
    ['GET', '/', 404],
    ['OPTIONS', '*', 404],
    ['POST', 'http://gw/v1/messages', 404],
    ['POST', '//evil/v1/messages', 404],
    ['POST', '/__proto__', 404],
    ['POST', 'constructor', 404],
  ])('%s %s', async (method, path, status) => {
    const text = await raw(socket, whole(path).replace('POST', method))
    expect(text).toMatch(new RegExp(`^HTTP/1.1 (${status}|400) `))
    expect(text.toLowerCase()).toContain('x-should-retry: false')
    expect(text).toContain('"type":"error"')
    expect(upstream.received).toHaveLength(0)
  })
})

describe('one way to read a request', () => {
  test.each<[string, string]>([
    ['two hosts', whole('/v1/messages', 'Host: other')],
    ['no host', whole('/v1/messages').replace('Host: gw\r\n', '')],
    ['two content types', whole('/v1/messages', 'Content-Type: application/json')],
    ['two lengths', whole('/v1/messages', `Content-Length: ${body.length}`)],
    ['a length and chunks', whole('/v1/messages', 'Transfer-Encoding: chunked')],
    [
      'an unknown transfer encoding',
      `${head('/v1/messages', 'Transfer-Encoding: xchunked', 'Connection: close')}0\r\n\r\n`,
    ],
    [
      'two transfer encodings',
      `${head('/v1/messages', 'Transfer-Encoding: gzip, chunked', 'Connection: close')}0\r\n\r\n`,
    ],
    [
      'an upgrade',
      whole('/v1/messages', 'Upgrade: websocket').replace('Connection: close', 'Connection: close, Upgrade'),
    ],
    ['HTTP/1.0', whole('/v1/messages').replace('HTTP/1.1', 'HTTP/1.0')],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['CONNECT', 'CONNECT api.anthropic.com:443 HTTP/1.1\r\nHost: api.anthropic.com:443\r\n\r\n'],
    ['an absolute target to elsewhere', whole('http://169.254.169.254/v1/messages')],
    ['a bare line feed', whole('/v1/messages').replaceAll('\r\n', '\n')],
    ['a folded line', whole('/v1/messages', 'X-A: a\r\n b')],
    ['a space before the colon', whole('/v1/messages', 'X-A : a')],
    ['a zero byte', whole('/v1/messages', 'X-A: \0')],
    ['a line end in the target', whole('/v1/mess\rages')],
    ['too much head', whole('/v1/messages', `X-A: ${'a'.repeat(40_000)}`)],
    ['too many headers', whole('/v1/messages', ...Array.from({ length: 150 }, (_, i) => `X-${i}: a`))],
    ['text', whole('/v1/messages').replace('application/json', 'text/plain')],
    ['another charset', whole('/v1/messages').replace('application/json', 'application/json; charset=utf-16')],
    ['a compressed body', whole('/v1/messages', 'Content-Encoding: gzip')],
    [
      'a chunk size beyond all numbers',
      `${head('/v1/messages', 'Transfer-Encoding: chunked')}fffffffffffffffff\r\n{}\r\n0\r\n\r\n`,
    ],
    ['nothing but noise', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ])('%s is refused', async (_name, bytes) => {
    const text = await raw(socket, bytes)
    expect(text).toMatch(/^HTTP\/1\.1 (400|404|405|415|431|505) /)
    expect(upstream.received).toHaveLength(0)
  })

  test('pipelined requests are not taken', async () => {
    await using other = await temporary()
    await using counted = await startUpstream(answerShortly)
    const env = { ANTHROPIC_BASE_URL: counted.url, ANTHROPIC_API_KEY: 'k-1234' }
    await using fresh = await runGateway(`${other.path}/state`, env)
    const route = await makeRoute(other.path, 's')
    await fresh.client.route('s', route)
    const text = await raw(route.socket_path, whole('/v1/messages').replace('Connection: close\r\n', '').repeat(3))
    expect(text.split('HTTP/1.1 200').length - 1).toBeLessThanOrEqual(1)
    await fresh.client.shutdown()
    await fresh.exited
    expect(counted.received.length).toBeLessThanOrEqual(1)
  })

  test('chunks are joined again, trailers are dropped', async () => {
    const half = Math.floor(body.length / 2)
    const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
    const bytes =
      head('/v1/messages', 'Transfer-Encoding: chunked', 'Connection: close', 'Trailer: x-api-key') +
      `${chunk(body.slice(0, half))}${chunk(body.slice(half))}0\r\nx-api-key: evil\r\nauthorization: evil\r\n\r\n`
    expect(await raw(socket, bytes)).toMatch(/^HTTP\/1\.1 200 /)
    expect(upstream.received).toHaveLength(1)
    expect(upstream.received[0]?.headers['x-api-key']).toBe('k-1234')
    expect(upstream.received[0]?.headers['transfer-encoding']).toBeUndefined()
    expect(upstream.received[0]?.rawHeaders.join()).not.toContain('evil')
  })
})

test('a body over 32 MiB is refused, one below is not', async () => {
  const padded = (bytes: number) =>
    JSON.stringify({ ...streamed, messages: [{ role: 'user', content: 'x'.repeat(bytes) }] })
  const refused = await call({ socket, body: padded(33 * 1024 * 1024) })
  expect(refused.status).toBe(413)
  expect(JSON.parse(refused.text)).toMatchObject({ error: { type: 'request_too_large' } })
  expect(upstream.received).toHaveLength(0)
  expect((await call({ socket, body: padded(31 * 1024 * 1024) })).status).toBe(200)
})

test('a refusal names the field and is final; the connection goes on', async () => {
  const { status, headers, text } = await call({ socket, body: JSON.stringify({ ...streamed, mcp_servers: [] }) })
  expect(status).toBe(400)
  expect(headers).toMatchObject({ 'x-should-retry': 'false', connection: 'close', 'content-type': 'application/json' })
  expect(JSON.parse(text)).toMatchObject({
    type: 'error',
    error: { type: 'invalid_request_error' },
    request_id: headers['request-id'],
  })
  expect(text).toContain('mcp_servers')
  expect((await call({ socket, body: JSON.stringify({ ...streamed, model: 'other' }) })).status).toBe(404)
  expect((await call({ socket, headers: { 'anthropic-beta': 'files-api-2025-04-14' } })).status).toBe(400)
  expect(upstream.received).toHaveLength(0)
})

test('what a sandbox gets refused does not fill the log', async () => {
  const lines = () => gateway.output().split('\n').length
  const before = lines()
  for (let i = 0; i < 300; i++) await call({ socket, path: '/' })
  expect(lines() - before).toBeLessThan(12)
})

test('large bodies have a limit per session, and it is given back', async () => {
  const large = head('/v1/messages', `Content-Length: ${31 * 1024 * 1024}`) + 'x'.repeat(30 * 1024 * 1024)
  const held = Array.from({ length: 5 }, () => {
    const connection = connect(socket, () => connection.write(large, 'latin1'))
    let text = ''
    connection.on('data', (chunk: Buffer) => (text += chunk.toString('latin1'))).on('error', () => undefined)
    return { connection, text: () => text }
  })
  await expect.poll(() => held.filter(({ text }) => text().startsWith('HTTP/1.1 503')).length, patient).toBe(1)
  for (const { connection } of held) connection.destroy()
  const body = JSON.stringify({ ...streamed, messages: [{ role: 'user', content: 'x'.repeat(20 * 1024 * 1024) }] })
  await expect.poll(() => call({ socket, body }).then(({ status }) => status, String), patient).toBe(200)
})

test('no more than 64 connections of a session', async () => {
  const connections = Array.from({ length: 100 }, () => connect(socket))
  let closed = 0
  for (const connection of connections) connection.on('close', () => closed++).on('error', () => undefined)
  await Promise.all(connections.map((connection) => once(connection, 'connect')))
  await expect.poll(() => closed, patient).toBe(36)
  for (const connection of connections) connection.destroy()
  await expect.poll(() => call({ socket }).then(({ status }) => status, String), patient).toBe(200)
})
