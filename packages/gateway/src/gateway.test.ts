import { connect } from 'node:net'
import { once } from 'node:events'
import { rm, stat } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isBerthError } from '@berth/protocol/error'
import { GATEWAY_PROTOCOL } from '@berth/protocol/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { makeRoute, runGateway, type RunningGateway, temporary } from './fixture/running-gateway.ts'
import { call, readAll, send } from './fixture/sandbox-call.ts'
import { answerShortly, messageStart, sse, startUpstream, type UpstreamServer } from './fixture/upstream-server.ts'

const patient = { timeout: 30_000 }

let directory: Awaited<ReturnType<typeof temporary>>
let upstream: UpstreamServer
let state: string
let env: Record<string, string>
let answer: (response: ServerResponse) => void | Promise<void> = answerShortly

beforeEach(async () => {
  answer = answerShortly
  directory = await temporary()
  upstream = await startUpstream((response) => answer(response))
  state = join(directory.path, 'state')
  env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'k-1234' }
})
afterEach(async () => {
  await upstream[Symbol.asyncDispose]()
  await directory[Symbol.asyncDispose]()
})

async function routed(gateway: RunningGateway, id: string): Promise<string> {
  const route = await makeRoute(directory.path, id)
  await gateway.client.route(id, route)
  return route.socket_path
}

describe('control', () => {
  test('routes, changes and removes sessions; each as often as you like', async () => {
    await using gateway = await runGateway(state, env)
    expect(await gateway.client.health()).toMatchObject({ protocol: GATEWAY_PROTOCOL, pid: gateway.pid, sessions: 0 })
    const route = await makeRoute(directory.path, 'a')
    await gateway.client.route('a', route)
    const before = (await stat(route.socket_path)).ino
    await gateway.client.route('a', route)
    expect((await stat(route.socket_path)).ino).toBe(before)
    expect((await call({ socket: route.socket_path })).status).toBe(200)
    await gateway.client.route('a', { ...route, models: ['other'] })
    expect((await call({ socket: route.socket_path })).status).toBe(404)
    expect((await gateway.client.health()).sessions).toBe(1)
    expect(await gateway.client.sessions()).toEqual(['a'])
    await gateway.client.unroute('a')
    await gateway.client.unroute('a')
    await expect(stat(route.socket_path)).rejects.toThrow('ENOENT')
    expect((await gateway.client.health()).sessions).toBe(0)
    expect(await gateway.client.sessions()).toEqual([])
    expect((await gateway.client.usage('a')).models).toMatchObject([{ requests: 1 }])
    expect(await gateway.client.usage('never')).toEqual({ session_id: 'never', models: [], stopped: null })
  })

  test('sockets are their owner’s alone', async () => {
    await using gateway = await runGateway(state, env)
    const route = await makeRoute(directory.path, 'a', { owner_uid: 41_234 })
    await gateway.client.route('a', route)
    expect(await stat(route.socket_path)).toMatchObject({ uid: 41_234, mode: 0o140_600 })
    expect((await stat(join(state, 'control.sock'))).mode).toBe(0o140_600)
    expect((await stat(state)).mode & 0o777).toBe(0o700)
    for (const name of ['ledger.db', 'sessions/a.json']) expect((await stat(join(state, name))).mode & 0o077).toBe(0)
  })

  test('a removed socket is opened again, a moved one moves', async () => {
    await using gateway = await runGateway(state, env)
    const route = await makeRoute(directory.path, 'a')
    await gateway.client.route('a', route)
    await rm(route.socket_path)
    await gateway.client.route('a', route)
    expect((await call({ socket: route.socket_path })).status).toBe(200)
    const moved = await makeRoute(directory.path, 'b')
    await gateway.client.route('a', moved)
    expect((await call({ socket: moved.socket_path })).status).toBe(200)
    await expect.poll(() => call({ socket: route.socket_path }).catch(() => 'gone'), patient).toBe('gone')
  })

  test.each<[string, object]>([
    ['a path too long', { socket_path: `/tmp/${'x'.repeat(103)}` }],
    ['a relative path', { socket_path: 'model.sock' }],
    ['no directory', { socket_path: '/nonexistent-berth/model.sock' }],
  ])('%s is a clear error and changes nothing', async (_name, given) => {
    await using gateway = await runGateway(state, env)
    const route = await makeRoute(directory.path, 'a', given)
    const error: unknown = await gateway.client.route('a', route).catch((caught: unknown) => caught)
    expect(isBerthError(error, 'invalid_request')).toBe(true)
    expect(String(error)).toContain('socket_path')
    expect((await gateway.client.health()).sessions).toBe(0)
  })

  test('unknown routes, ids that are no names, bodies that are no routes', async () => {
    await using gateway = await runGateway(state, env)
    const control = join(state, 'control.sock')
    const route = await makeRoute(directory.path, 'a')
    const answers = await Promise.all([
      call({ socket: control, method: 'GET', path: '/', body: '' }),
      call({ socket: control, method: 'PUT', path: '/sessions/..%2fx', body: JSON.stringify(route) }),
      call({ socket: control, method: 'PUT', path: '/sessions/a', body: '{' }),
      call({ socket: control, method: 'PUT', path: '/sessions/a', body: JSON.stringify({ ...route, extra: 1 }) }),
      call({ socket: control, method: 'POST', path: '/health' }),
    ])
    expect(answers.map(({ status }) => status)).toEqual([404, 400, 400, 400, 404])
    expect((await gateway.client.health()).sessions).toBe(0)
  })

  test('no gateway is `unavailable`', async () => {
    const error: unknown = await openGatewayClient(join(state, 'control.sock'))
      .health()
      .catch((caught: unknown) => caught)
    expect(isBerthError(error, 'unavailable')).toBe(true)
  })
})

describe('life and death', () => {
  test('one per state directory; after kill -9 the next serves the same sockets', async () => {
    const first = await runGateway(state, env)
    const a = await routed(first, 'a')
    const b = await routed(first, 'b')
    await expect(runGateway(state, env)).rejects.toThrow(/exit 3: .*another gateway/)
    expect((await call({ socket: a })).status).toBe(200)
    const authority = await first.client.authority()
    expect(authority.certificate).toMatch(/^-----BEGIN CERTIFICATE-----\n/)
    await first.kill('SIGKILL')
    await expect(call({ socket: a })).rejects.toThrow('ECONNREFUSED')
    await using second = await runGateway(state, env)
    expect((await second.client.health()).sessions).toBe(2)
    expect(await second.client.authority()).toEqual(authority)
    expect((await Promise.all([call({ socket: a }), call({ socket: b })])).map(({ status }) => status)).toEqual([
      200, 200,
    ])
    expect((await second.client.usage('a')).models).toMatchObject([{ requests: 2 }])
  })

  test('a session whose directory is gone is not reopened', async () => {
    {
      await using gateway = await runGateway(state, env)
      await routed(gateway, 'a')
      await rm(join(directory.path, 'a'), { recursive: true })
    }
    await using gateway = await runGateway(state, env)
    expect((await gateway.client.health()).sessions).toBe(0)
  })

  test('kill -9 loses no row whose end a client has seen, and settles what was cut', async () => {
    const gateway = await runGateway(state, env)
    const socket = await routed(gateway, 'a')
    let seen = 0
    const clients = Array.from({ length: 8 }, async () => {
      for (;;) {
        const { text } = await call({ socket })
        if (!text.endsWith(sse('message_stop'))) throw new Error(`unexpected answer ${text}`)
        seen++
      }
    })
    const ended = Promise.allSettled(clients)
    await vi.waitFor(() => expect(seen).toBeGreaterThan(100), patient)
    await gateway.kill('SIGKILL')
    await ended
    await using next = await runGateway(state, env)
    const [usage] = (await next.client.usage('a')).models
    using database = new DatabaseSync(join(state, 'ledger.db'))
    const count = database.prepare(`SELECT count(*) AS n FROM requests WHERE outcome = 'ok'`).get()
    expect(count?.['n']).toBeGreaterThanOrEqual(seen)
    expect(database.prepare('SELECT count(*) AS n FROM requests WHERE outcome IS NULL').get()).toEqual({ n: 0 })
    expect(usage?.requests).toBeGreaterThanOrEqual(seen)
  })

  test('kill -9 in the middle of an answer: what was seen of it is settled at the next start', async () => {
    const gateway = await runGateway(state, env)
    const socket = await routed(gateway, 'a')
    answer = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(messageStart('m', { input_tokens: 4321 }))
    }
    const incoming = await send({ socket })
    await once(incoming, 'data')
    const cut = readAll(incoming).catch(() => 'cut')
    // The start is noted in the background; the ledger says when.
    const noted = () => {
      using database = new DatabaseSync(join(state, 'ledger.db'), { readOnly: true })
      return database.prepare('SELECT input_tokens FROM requests').get()?.['input_tokens']
    }
    await vi.waitFor(() => expect(noted()).toBe(4321), patient)
    await gateway.kill('SIGKILL')
    expect(await cut).toBe('cut')
    await using next = await runGateway(state, env)
    expect((await next.client.usage('a')).models).toMatchObject([{ requests: 1, input_tokens: 4321 }])
  })

  test.each(['SIGTERM', 'shutdown'] as const)(
    '%s lets a running answer end, takes no new one, and exits 0',
    async (how) => {
      const goOn = Promise.withResolvers<void>()
      await using gateway = await runGateway(state, env)
      const socket = await routed(gateway, 'a')
      answer = async (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(messageStart('m', { input_tokens: 1 }))
        await goOn.promise
        response.end(sse('message_stop'))
      }
      const incoming = await send({ socket })
      await once(incoming, 'data')
      const text = readAll(incoming)
      answer = answerShortly
      if (how === 'SIGTERM') process.kill(gateway.pid, 'SIGTERM')
      else await gateway.client.shutdown()
      const other = () => call({ socket, path: '/' }).then(() => 'answered', String)
      await expect.poll(other, patient).toContain('ECONNREFUSED')
      goOn.resolve()
      expect(await text).toContain('message_stop')
      expect(await gateway.exited).toBe(0)
      await using next = await runGateway(state, env)
      expect((await next.client.usage('a')).models).toMatchObject([{ requests: 1 }])
    },
  )

  test('an answer that does not end is cut after 10 s and settled', async () => {
    await using gateway = await runGateway(state, env)
    const socket = await routed(gateway, 'a')
    answer = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(messageStart('m', { input_tokens: 5 }))
    }
    const incoming = await send({ socket })
    await once(incoming, 'data')
    const text = readAll(incoming).catch(() => 'cut')
    const idle = connect(socket)
    await once(idle, 'connect')
    await gateway.client.shutdown()
    expect(await gateway.exited).toBe(0)
    expect(await text).toBe('cut')
    using database = new DatabaseSync(join(state, 'ledger.db'))
    expect(database.prepare('SELECT outcome, input_tokens FROM requests').all()).toEqual([
      { outcome: 'cut', input_tokens: 5 },
    ])
  })

  test('ends by itself when it has had no session for a while, and not before', async () => {
    {
      await using gateway = await runGateway(state, env)
      await routed(gateway, 'a')
    }
    await using gateway = await runGateway(state, env, ['--idle-exit', '0.2'])
    const { socket_path: socket } = await makeRoute(directory.path, 'a')
    answer = (response) => void setTimeout(() => answerShortly(response), 500)
    expect((await call({ socket })).status).toBe(200)
    await gateway.client.unroute('a')
    expect(await gateway.exited).toBe(0)
  })

  test('bad settings are named, not shown', async () => {
    await expect(runGateway(state, { ...env, ANTHROPIC_BASE_URL: 'ftp://x' })).rejects.toThrow(
      /exit 1: .*ANTHROPIC_BASE_URL/,
    )
    const wrong = runGateway(state, { ...env, ANTHROPIC_API_KEY: 'secret key' })
    await expect(wrong).rejects.toThrow(/exit 1: .*ANTHROPIC_API_KEY/)
    await expect(wrong).rejects.not.toThrow(/secret/)
    for (const file of ['/no/such/file', '/etc/passwd']) {
      const named = runGateway(state, { ...env, BERTH_EGRESS_CA_FILE: file })
      await expect(named).rejects.toThrow(/exit 1: .*BERTH_EGRESS_CA_FILE/)
    }
  })
})

test('without a key every model call is refused, finally and with a text for the operator', async () => {
  await using gateway = await runGateway(state, { ANTHROPIC_BASE_URL: upstream.url })
  const { status, headers, text } = await call({ socket: await routed(gateway, 'a') })
  expect(status).toBe(403)
  expect(headers['x-should-retry']).toBe('false')
  expect(JSON.parse(text)).toMatchObject({ type: 'error', error: { type: 'authentication_error' } })
  expect(text).toContain('ANTHROPIC_API_KEY')
  expect(upstream.received).toHaveLength(0)
})

test('an upstream on a unix socket', async () => {
  const path = join(directory.path, 'up.sock')
  const server = createServer((request, response) => request.resume().on('end', () => answerShortly(response)))
  await new Promise<void>((resolve) => server.listen(path, resolve))
  await using gateway = await runGateway(state, { ...env, BERTH_UPSTREAM_SOCKET: path })
  expect((await call({ socket: await routed(gateway, 'a') })).status).toBe(200)
  expect(upstream.received).toHaveLength(0)
  server.closeAllConnections()
  server.close()
})

test('an upstream that is not there is an error to try again', async () => {
  await using gateway = await runGateway(state, { ...env, ANTHROPIC_BASE_URL: 'http://127.0.0.1:1' })
  const { status, headers, text } = await call({ socket: await routed(gateway, 'a') })
  expect(status).toBe(502)
  expect(headers['x-should-retry']).toBeUndefined()
  expect(JSON.parse(text)).toMatchObject({
    error: { type: 'api_error', message: 'The model API cannot be reached (ECONNREFUSED)' },
  })
})
