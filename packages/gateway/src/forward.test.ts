import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { makeRoute, runGateway, type RunningGateway, temporary } from './fixture/running-gateway.ts'
import { call, readAll, send, streamed } from './fixture/sandbox-call.ts'
import {
  answerShortly,
  messageStart,
  type Received,
  shortAnswer,
  sse,
  startUpstream,
  textDelta,
  type UpstreamServer,
} from './fixture/upstream-server.ts'

const patient = { timeout: 30_000 }
const CANARY = 'sk-ant-canary-7b1e'
const PASSWORD = 'pw-canary-99'

let directory: Awaited<ReturnType<typeof temporary>>
let upstream: UpstreamServer
let gateway: RunningGateway
let answer: (response: ServerResponse, received: Received) => void | Promise<void> = answerShortly
let socket: string
let sessions = 0
let session: string

beforeAll(async () => {
  directory = await temporary()
  upstream = await startUpstream((response, received) => answer(response, received))
  gateway = await runGateway(`${directory.path}/state`, {
    ANTHROPIC_BASE_URL: upstream.url.replace('//', `//user:${PASSWORD}@`) + '/prefix/',
    ANTHROPIC_API_KEY: CANARY,
  })
})

beforeAll(async () => {
  await newSession()
})

afterEach(async () => {
  answer = answerShortly
  upstream.received.length = 0
  await newSession()
})

afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
  await directory?.[Symbol.asyncDispose]()
})

async function newSession(): Promise<void> {
  session = `s${sessions++}`
  const route = await makeRoute(directory.path, session)
  await gateway.client.route(session, route)
  socket = route.socket_path
}

async function usage() {
  return (await gateway.client.usage(session)).models
}

test('forwards the request with the real key and nothing of the client but what is listed', async () => {
  const answered = await call({
    socket,
    headers: {
      'x-api-key': 'dummy',
      authorization: 'Bearer dummy',
      cookie: 'a=b',
      'proxy-authorization': 'x',
      'x-forwarded-for': '1.2.3.4',
      'anthropic-workspace-id': 'wrkspc_other',
      'anthropic-user-profile-id': 'u',
      'accept-encoding': 'gzip, br',
      'anthropic-beta': 'claude-code-20250219,unheard-of-2030-01-01',
      'x-claude-code-session-id': 'c1',
      'x-stainless-lang': 'js',
      'x-http-method-override': 'DELETE',
      te: 'trailers',
      connection: 'x-claude-code-session-id',
    },
  })
  expect(answered.status).toBe(200)
  const received = upstream.received[0]
  expect(received?.url).toBe('/prefix/v1/messages?beta=true')
  expect(JSON.parse(received?.body ?? '')).toEqual(streamed)
  expect(received?.headers).toEqual({
    host: upstream.url.slice(7),
    connection: 'keep-alive',
    authorization: `Basic ${Buffer.from(`user:${PASSWORD}`).toString('base64')}`,
    'x-api-key': CANARY,
    'accept-encoding': 'identity',
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(received?.body ?? '')),
    'anthropic-version': '2023-06-01',
    'anthropic-beta': 'claude-code-20250219',
    'x-claude-code-session-id': 'c1',
    'x-stainless-lang': 'js',
  })
})

test('answers with listed headers alone', async () => {
  answer = (response) => {
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'request-id': 'req_up',
      'set-cookie': 'a=b',
      'anthropic-organization-id': 'org',
      'anthropic-ratelimit-requests-remaining': '9',
      server: 'x',
      'x-echo': CANARY,
      via: 'x',
    })
    response.end(shortAnswer())
  }
  const { headers, text } = await call({ socket })
  expect(Object.keys(headers).sort()).toEqual(
    [
      'anthropic-ratelimit-requests-remaining',
      'connection',
      'content-type',
      'date',
      'request-id',
      'transfer-encoding',
    ].sort(),
  )
  expect(text).toBe(shortAnswer())
})

test('the first piece arrives before the second is sent; usage is there when the end is', async () => {
  const goOn = Promise.withResolvers<void>()
  answer = async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(messageStart('m-served', { input_tokens: 10, output_tokens: 1 }))
    await goOn.promise
    response.end(textDelta('x') + sse('message_delta', { usage: { output_tokens: 5 } }) + sse('message_stop'))
  }
  const incoming = await send({ socket })
  const [first] = await once(incoming, 'data')
  expect(String(first)).toBe(messageStart('m-served', { input_tokens: 10, output_tokens: 1 }))
  expect(await usage()).toEqual([])
  incoming.pause()
  goOn.resolve()
  let text = ''
  for await (const chunk of incoming) {
    text += String(chunk)
    if (text.includes('event: message_stop\n')) {
      expect(await usage()).toMatchObject([{ model: 'm-served', requests: 1, input_tokens: 10, output_tokens: 5 }])
    }
  }
  expect(text.endsWith(sse('message_stop'))).toBe(true)
})

test('counts an answer that is not streamed', async () => {
  const message = {
    type: 'message',
    model: 'm2',
    usage: { input_tokens: 3, output_tokens: 4, cache_creation_input_tokens: 5 },
  }
  answer = (response) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(message))
  const { text } = await call({ socket, path: '/v1/messages', body: JSON.stringify({ ...streamed, stream: false }) })
  expect(JSON.parse(text)).toEqual(message)
  expect(await usage()).toMatchObject([
    { model: 'm2', input_tokens: 3, output_tokens: 4, cache_creation_5m_input_tokens: 5 },
  ])
})

test('counting tokens is free', async () => {
  answer = (response) => void response.writeHead(200, { 'content-type': 'application/json' }).end('{"input_tokens":7}')
  expect((await call({ socket, path: '/v1/messages/count_tokens?beta=true' })).text).toBe('{"input_tokens":7}')
  expect(await usage()).toEqual([])
})

test('a client that stops reading stops the upstream, not the gateway', async () => {
  const total = 64 * 1024 * 1024
  const piece = Buffer.from(textDelta('x'.repeat(60_000)))
  let sent = 0
  const done = Promise.withResolvers<void>()
  answer = async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(messageStart('m', { input_tokens: 1 }))
    while (sent < total) {
      sent += piece.length
      if (!response.write(piece)) await once(response, 'drain')
    }
    response.end(sse('message_stop'))
    done.resolve()
  }
  const incoming = await send({ socket })
  let before = -1
  // Without reading, what is under way comes to rest far below the whole.
  await vi.waitFor(
    () => {
      const still = sent === before
      before = sent
      if (!still || sent === 0) throw new Error('still flowing')
    },
    { ...patient, interval: 300 },
  )
  expect(sent).toBeLessThan(total / 2)
  const text = await readAll(incoming)
  expect(text.length).toBeGreaterThan(total)
  await done.promise
})

test('a sandbox that goes away ends the upstream request at once, and the request counts as far as it came', async () => {
  const gone = Promise.withResolvers<void>()
  answer = (response, received) => {
    received.gone.addEventListener('abort', () => gone.resolve())
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(messageStart('m', { input_tokens: 77, output_tokens: 1 }))
  }
  const incoming = await send({ socket })
  await once(incoming, 'data')
  incoming.destroy()
  await gone.promise
  await vi.waitFor(async () => expect(await usage()).toMatchObject([{ requests: 1, input_tokens: 77 }]), patient)
})

test('an upstream that breaks off is a cut for the sandbox too, and counts', async () => {
  answer = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(messageStart('m', { input_tokens: 33 }), () => response.destroy())
  }
  await expect(call({ socket })).rejects.toThrow()
  expect(await usage()).toMatchObject([{ requests: 1, input_tokens: 33 }])
})

test('an error event in the stream ends and settles it', async () => {
  const text =
    messageStart('m', { input_tokens: 33 }) + sse('error', { error: { type: 'overloaded_error', message: 'x' } })
  answer = (response) => void response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text)
  expect((await call({ socket })).text).toBe(text)
  expect(await usage()).toMatchObject([{ requests: 1, input_tokens: 33 }])
})

test('silence has an end: before the answer a timeout error, within it a cut', async () => {
  await using hasty = await runGateway(`${directory.path}/hasty`, {
    ANTHROPIC_BASE_URL: upstream.url,
    ANTHROPIC_API_KEY: CANARY,
    BERTH_UPSTREAM_IDLE_SECONDS: '2',
  })
  const route = await makeRoute(directory.path, 'hasty-session')
  await hasty.client.route('s', route)
  answer = () => undefined
  const refused = await call({ socket: route.socket_path })
  expect(refused.status).toBe(504)
  expect(JSON.parse(refused.text)).toMatchObject({ type: 'error', error: { type: 'timeout_error' } })
  expect(refused.headers['x-should-retry']).toBeUndefined()
  answer = (response) => void response.writeHead(200, { 'content-type': 'text/event-stream' }).write(textDelta('x'))
  await expect(call({ socket: route.socket_path })).rejects.toThrow()
})

test('passes errors on with what the CLI needs to decide about a retry', async () => {
  const error = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' }, secret: 'internal' }
  answer = (response) =>
    void response
      .writeHead(529, { 'content-type': 'application/json', 'retry-after': '3', 'request-id': 'req_9' })
      .end(JSON.stringify(error))
  const { status, headers, text } = await call({ socket })
  expect(status).toBe(529)
  expect(headers).toMatchObject({ 'retry-after': '3', 'request-id': 'req_9', 'content-type': 'application/json' })
  expect(headers['x-should-retry']).toBeUndefined()
  expect(JSON.parse(text)).toMatchObject({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } })
  expect(text).not.toContain('internal')
  expect(await usage()).toMatchObject([{ model: 'm', requests: 1, input_tokens: 0 }])
})

test.each([401, 403])(
  'a key that the upstream refuses (%d) is not tried again, and the operator is named',
  async (status) => {
    const error = { type: 'error', error: { type: 'authentication_error', message: `invalid x-api-key ${CANARY}` } }
    answer = (response) =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(error))
    const answered = await call({ socket })
    expect(answered.status).toBe(status)
    expect(answered.headers['x-should-retry']).toBe('false')
    expect(answered.text).toContain('ANTHROPIC_API_KEY')
    expect(answered.text).toContain('invalid API key [redacted]')
  },
)

test('redirects, encodings, pages and upgrades of the upstream become errors', async () => {
  const odd: ((response: ServerResponse) => void)[] = [
    (response) => void response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end(),
    (response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
    (response) =>
      void response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end('x'),
    (response) => void response.writeHead(204).end(),
    (response) => void response.socket?.end('HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
    (response) => void response.socket?.end('garbage'),
  ]
  for (const each of odd) {
    answer = each
    const { status, text } = await call({ socket })
    expect(status).toBe(502)
    expect(JSON.parse(text)).toMatchObject({ type: 'error', error: { type: 'api_error' } })
  }
  expect(upstream.received).toHaveLength(odd.length)
})

test('two sessions are told apart by their sockets, whatever they say', async () => {
  const first = session
  const firstSocket = socket
  await newSession()
  const claim = { 'x-claude-code-session-id': first, 'x-berth-session': first, host: first }
  await Promise.all([
    ...Array.from({ length: 5 }, () => call({ socket, headers: claim })),
    ...Array.from({ length: 3 }, () => call({ socket: firstSocket, headers: { host: session } })),
  ])
  expect((await gateway.client.usage(first)).models).toMatchObject([{ requests: 3, input_tokens: 30 }])
  expect((await gateway.client.usage(session)).models).toMatchObject([{ requests: 5, input_tokens: 50 }])
})

test('at most 16 requests of a session at once; others are not held up', async () => {
  const goOn = Promise.withResolvers<void>()
  answer = async (response) => {
    await goOn.promise
    answerShortly(response)
  }
  const running = Array.from({ length: 16 }, () => call({ socket }))
  await vi.waitFor(() => expect(upstream.received).toHaveLength(16), patient)
  const refused = await call({ socket })
  expect(refused.status).toBe(429)
  expect(refused.headers).toMatchObject({ 'retry-after': '1', 'x-should-retry': 'true' })
  answer = answerShortly
  const before = session
  await newSession()
  expect((await call({ socket })).status).toBe(200)
  goOn.resolve()
  expect((await Promise.all(running)).map(({ status }) => status)).toEqual(Array.from({ length: 16 }, () => 200))
  expect((await gateway.client.usage(before)).models).toMatchObject([{ requests: 16 }])
})

test('connections to the upstream are kept', async () => {
  const ports = new Set<number | undefined>()
  answer = (response) => {
    ports.add(response.socket?.remotePort)
    answerShortly(response)
  }
  for (let i = 0; i < 10; i++) expect((await call({ socket })).status).toBe(200)
  expect(ports.size).toBe(1)
})

test('an upstream that closes a kept connection does not cost a request', async () => {
  for (let i = 0; i < 20; i++) {
    answer = (response) => {
      answerShortly(response)
      response.on('finish', () => response.socket?.destroy())
    }
    expect((await call({ socket })).status).toBe(200)
    await setImmediate()
  }
})

test('neither key nor credentials nor addresses come out anywhere', async () => {
  answer = (response, received) => {
    const echo = JSON.stringify({
      type: 'error',
      error: { type: 'invalid_request_error', message: received.rawHeaders.join(' ') },
    })
    response.writeHead(400, { 'content-type': 'application/json', 'request-id': 'r' }).end(echo)
  }
  const texts = [(await call({ socket })).text]
  answer = (response) => void response.socket?.destroy()
  texts.push((await call({ socket })).text)
  for (const method of ['TRACE', 'OPTIONS', 'GET']) texts.push((await call({ socket, method })).text)
  texts.push((await call({ socket, body: '{' })).text, gateway.output(), JSON.stringify(await gateway.client.health()))
  for (const text of texts) {
    for (const secret of [CANARY, PASSWORD, Buffer.from(`user:${PASSWORD}`).toString('base64')])
      expect(text).not.toContain(secret)
  }
  expect(texts[1]).not.toContain(upstream.url.slice(7))
})
