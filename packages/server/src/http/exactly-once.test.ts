import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { countAgents, countMessages, idOf, newSession, post, say } from '../../test/post.ts'
import { serveApp, type TestServer } from '../../test/serve-app.ts'

let server: TestServer
beforeAll(async () => {
  server = await serveApp()
})
afterAll(() => server[Symbol.asyncDispose]())

let lastKey = 0
const newKey = () => ({ 'idempotency-key': `key-${++lastKey}` })

test('the same request is answered the same, byte for byte, and has its effect once', async () => {
  const key = newKey()
  const first = await post(server, '/v1/agents', { name: 'twice', model: 'm' }, key)
  expect(first.status).toBe(200)
  expect(first.headers['request-id']).toMatch(/^req_/)
  expect(await post(server, '/v1/agents', { name: 'twice', model: 'm' }, key)).toEqual(first)
  // Also when the object has changed since.
  await server.client.beta.agents.update(idOf(first), { name: 'renamed', version: 1 })
  expect(await post(server, '/v1/agents', { name: 'twice', model: 'm' }, key)).toEqual(first)
  expect(await countAgents(server, 'twice')).toBe(0)
  expect(await countAgents(server, 'renamed')).toBe(1)
})

test('without a key, and with another one, an equal request is another request', async () => {
  for (const headers of [{}, {}, newKey(), newKey()])
    await post(server, '/v1/agents', { name: 'each', model: 'm' }, headers)
  expect(await countAgents(server, 'each')).toBe(4)
})

test('the key of another request is refused, for good', async () => {
  const key = newKey()
  await post(server, '/v1/agents', { name: 'mine', model: 'm' }, key)
  const others = [
    await post(server, '/v1/agents', { name: 'other', model: 'm' }, key),
    await post(server, '/v1/agents?x=1', { name: 'mine', model: 'm' }, key),
    await post(server, '/v1/environments', { name: 'mine' }, key),
  ]
  for (const { status, headers, body } of others) {
    expect([status, headers['x-should-retry']]).toEqual([409, 'false'])
    expect(JSON.parse(body)).toMatchObject({
      error: { type: 'conflict_error', details: { error_code: 'idempotency_key_reused' } },
      request_id: headers['request-id'],
    })
  }
  expect(await countAgents(server, 'other')).toBe(0)
  expect((await post(server, '/v1/agents', { name: 'mine', model: 'm' }, key)).status).toBe(200)
})

test('a refusal is repeated too, even when the request would be taken by now', async () => {
  const { id } = await server.client.beta.agents.create({ name: 'at 1', model: 'm' })
  const key = newKey()
  const ahead = { name: 'at 3', version: 2 }
  const first = await post(server, `/v1/agents/${id}`, ahead, key)
  expect(first.status).toBe(409)
  await server.client.beta.agents.update(id, { name: 'at 2', version: 1 })
  expect(await post(server, `/v1/agents/${id}`, ahead, key)).toEqual(first)
  expect((await post(server, `/v1/agents/${id}`, ahead, newKey())).status).toBe(200)

  for (const [path, body, status] of [
    ['/v1/agents', { name: 'A' }, 400],
    ['/v1/sessions/sesn_none/events', say('hello'), 404],
  ] as const) {
    const headers = newKey()
    const refusal = await post(server, path, body, headers)
    expect(refusal.status).toBe(status)
    expect(await post(server, path, body, headers)).toEqual(refusal)
  }
})

test('fifty at once are one, and get one answer', async () => {
  const fifty = <Value>(make: () => Promise<Value>) => Promise.all(Array.from({ length: 50 }, make))
  const agentKey = newKey()
  const made = await fifty(() => post(server, '/v1/agents', { name: 'fifty', model: 'm' }, agentKey))
  expect(made[0]?.status).toBe(200)
  expect(new Set(made.map((answer) => JSON.stringify(answer))).size).toBe(1)
  expect(await countAgents(server, 'fifty')).toBe(1)

  const id = await newSession(server)
  const messageKey = newKey()
  const sent = await fifty(() => post(server, `/v1/sessions/${id}/events`, say('hello'), messageKey))
  expect(sent[0]?.status).toBe(200)
  expect(new Set(sent.map((answer) => JSON.stringify(answer))).size).toBe(1)
  expect(await countMessages(server, id)).toBe(1)

  const refusedKey = newKey()
  const refused = await fifty(() => post(server, '/v1/agents/agent_none', { name: 'x' }, refusedKey))
  expect(refused[0]?.status).toBe(404)
  expect(new Set(refused.map((answer) => JSON.stringify(answer))).size).toBe(1)
})

test('of two requests at once under one key one is taken', async () => {
  const key = newKey()
  const names = Array.from({ length: 20 }, (_, n) => `rival ${n}`)
  const answers = await Promise.all(names.map((name) => post(server, '/v1/agents', { name, model: 'm' }, key)))
  const taken = answers.filter(({ status }) => status === 200)
  expect(taken).toHaveLength(1)
  expect(answers.filter(({ status }) => status === 409)).toHaveLength(19)
  const made = await Promise.all(names.map((name) => countAgents(server, name)))
  expect(made.filter((n) => n > 0)).toEqual([1])
})

test('a workspace has keys of its own', async () => {
  const key = newKey()
  const body = { name: 'everywhere', model: 'm' }
  const mine = await post(server, '/v1/agents', body, key)
  const authorization = `Bearer ${await server.otherWorkspaceKey()}`
  const theirs = await post(server, '/v1/agents', body, { ...key, authorization })
  expect(theirs.status).toBe(200)
  expect(idOf(theirs)).not.toBe(idOf(mine))
  expect(await post(server, '/v1/agents', { name: 'else', model: 'm' }, { ...key, authorization })).toMatchObject({
    status: 409,
  })
})

test('a key outlives the server', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'berth-once-'))
  await using _dir = { [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) }
  const key = newKey()
  const send = async () => {
    await using again = await serveApp({}, { dir })
    const answer = await post(
      again,
      '/v1/agents',
      { name: 'lasting', model: 'm' },
      { ...key, authorization: `Bearer ${again.key}` },
    )
    return { answer, made: await countAgents(again, 'lasting') }
  }
  const first = await send()
  expect(first).toMatchObject({ made: 1, answer: { status: 200 } })
  expect(await send()).toEqual(first)
})

test('a day later the key is free; a clock that jumps an hour frees none', async () => {
  let now = Date.parse('2026-03-01T12:00:00Z')
  await using timed = await serveApp({}, { clock: { now: () => new Date(now) }, roundMs: 5 })
  const key = newKey()
  const send = () => post(timed, '/v1/agents', { name: 'daily', model: 'm' }, key)
  const hour = 3_600_000
  const first = await send()
  for (const jump of [hour, -2 * hour, 22 * hour]) {
    now += jump
    // Written before the look at the records that this one's end proves.
    await expired(timed, new Date(now - 25 * hour))
    expect(await send()).toEqual(first)
  }
  now += 4 * hour
  await vi.waitFor(async () => expect(await send()).not.toEqual(first), { timeout: 20_000 })
  expect(await countAgents(timed, 'daily')).toBe(2)
})

/** Notes a request of this time and waits until it is let go. */
async function expired(on: TestServer, time: Date): Promise<void> {
  const once = {
    by: 'key',
    scope: 'test',
    key: time.toISOString(),
    fingerprint: '',
    requestId: time.toISOString(),
  } as const
  await on.store.keepAnswer({
    once: { ...once, now: time.toISOString() },
    answer: { requestId: once.requestId, status: 200, headers: [], body: '' },
  })
  const isGone = async () => (await on.store.findAnswer({ ...once, now: time.toISOString() })) === undefined
  await vi.waitFor(async () => expect(await isGone()).toBe(true), { timeout: 20_000 })
}

test('a key is 1 to 255 visible ASCII characters, there once', async () => {
  const body = { name: 'keyed', model: 'm' }
  const longest = { 'idempotency-key': `${'x'.repeat(253)}!~` }
  expect(await post(server, '/v1/agents', body, longest)).toEqual(await post(server, '/v1/agents', body, longest))
  for (const key of ['x'.repeat(256), '', 'two words', 'tab\tbed', 'naïve']) {
    const { status, body: refusal } = await post(server, '/v1/agents', body, { 'idempotency-key': key })
    expect([key, status]).toEqual([key, 400])
    expect(refusal).toContain('Idempotency-Key: ')
  }
  const json = JSON.stringify(body)
  const socket = connect(server.port, '127.0.0.1')
  socket.write(
    `POST /v1/agents HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${server.key}\r\nidempotency-key: a\r\nidempotency-key: a\r\n` +
      `content-type: application/json\r\ncontent-length: ${json.length}\r\nconnection: close\r\n\r\n${json}`,
  )
  expect(await text(socket)).toMatch(/^HTTP\/1.1 400 [\s\S]*Idempotency-Key: must be there once/)
  expect(await countAgents(server, 'keyed')).toBe(1)
})

test('other methods have no use for a key', async () => {
  const { id } = await server.client.beta.environments.create({ name: 'e' })
  const headers = { 'idempotency-key': 'not a key' }
  expect((await server.fetch('/v1/agents', { headers })).status).toBe(200)
  expect((await server.fetch(`/v1/environments/${id}`, { method: 'DELETE', headers })).status).toBe(200)
  expect((await server.fetch(`/v1/environments/${id}`, { method: 'DELETE', headers })).status).toBe(404)
})
