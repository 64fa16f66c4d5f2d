import { connect } from 'node:net'
import { DatabaseSync } from 'node:sqlite'
import { text } from 'node:stream/consumers'
import { errorCodes } from '@berth/protocol'
import { errorEnvelope } from '@berth/protocol/api/error'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { serveApp, type TestServer } from '../../test/serve-app.ts'

let server: TestServer
beforeAll(async () => {
  server = await serveApp({ allowedHosts: ['berth.example'], allowedOrigins: ['https://console.example'] })
})
afterAll(() => server[Symbol.asyncDispose]())

/** Every error is the envelope, with its id and the word on retries. */
async function expectError(answer: Response, code: keyof typeof errorCodes, message: RegExp | string): Promise<void> {
  const envelope = errorEnvelope.parse(await answer.json())
  expect(envelope.error.message).toMatch(message)
  expect([answer.status, envelope.error.type]).toEqual([errorCodes[code].status, errorCodes[code].type])
  expect(answer.headers.get('request-id')).toBe(envelope.request_id)
  expect(envelope.request_id).toMatch(/^req_/)
  expect(answer.headers.get('x-should-retry')).toBe(String(errorCodes[code].retryable))
}

/** Sent as it stands: the client library would not send such things. */
async function raw(request: string): Promise<string> {
  const socket = connect(server.port, '127.0.0.1')
  socket.write(request)
  return text(socket)
}

const post = (body: NonNullable<RequestInit['body']>, headers: Record<string, string> = {}) =>
  server.fetch('/v1/agents', {
    method: 'POST',
    body,
    headers,
    ...(body instanceof ReadableStream ? { duplex: 'half' } : {}),
  })

test.each([
  ['nothing', ''],
  ['half an object', '{"name":'],
  ['two values', '{} {}'],
])('malformed JSON: %s', async (_, body) => {
  await expectError(await post(body), 'invalid_request', /Malformed JSON|body: /)
})

test.each([
  ['a list', '[]'],
  ['text', '"x"'],
  ['null', 'null'],
])('JSON that is no object: %s', async (_, body) => {
  await expectError(await post(body), 'invalid_request', /^body: .*expected object/)
})

test('a body of another type, of no type, and of no Unicode is refused', async () => {
  const body = '{"name":"A","model":"m"}'
  await expectError(await post(body, { 'content-type': 'text/plain' }), 'invalid_request', /^content-type: /)
  await expectError(await post(new Blob([body]), { 'content-type': '' }), 'invalid_request', /^content-type: /)
  await expectError(await post(new Uint8Array([0x22, 0xff, 0x22])), 'invalid_request', 'body: is not UTF-8')
  const vendor = await post(body, { 'content-type': 'application/vnd.x+json; charset=utf-8' })
  expect(vendor.status).toBe(200)
})

test('a body over the limit is refused while it is read, whatever its headers say', async () => {
  const block = new TextEncoder().encode('x'.repeat(1024 * 1024))
  await expectError(await post(new Blob(Array.from({ length: 33 }, () => block))), 'too_large', /33554432/)
  let sent = 0
  const stream = new ReadableStream({
    pull: (controller) => (sent++ < 33 ? controller.enqueue(block) : controller.close()),
  })
  await expectError(await post(stream), 'too_large', /33554432/)
})

test('a large body below the limit is taken', async () => {
  const description = 'x'.repeat(31 * 1024 * 1024)
  await expectError(
    await post(JSON.stringify({ name: 'A', model: 'm', description })),
    'invalid_request',
    /^description: /,
  )
})

test('a body that is nested too deep, or names countless fields, is refused', async () => {
  await expectError(await post('['.repeat(100_000)), 'invalid_request', /nested/)
  const input_schema = `{"type":"object","x":${'{"a":'.repeat(1000)}1${'}'.repeat(1000)}}`
  const tool = `{"type":"custom","name":"t","description":"d","input_schema":${input_schema}}`
  await expectError(await post(`{"name":"A","model":"m","tools":[${tool}]}`), 'invalid_request', /nested/)
  const brackets = JSON.stringify({ name: '[{"'.repeat(80), model: 'm' })
  expect((await post(brackets)).status).toBe(200)
  const fields = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`field${i}`, 1]))
  const answer = await post(JSON.stringify(fields))
  expect(answer.status).toBe(400)
  expect((await answer.text()).length).toBeLessThan(2000)
})

test('__proto__ and constructor do no harm', async () => {
  const proto = await post('{"name":"A","model":"m","__proto__":{"polluted":1}}')
  await expectError(proto, 'invalid_request', '__proto__: unknown field')
  const constructor = await post('{"name":"A","model":"m","constructor":{"prototype":{"polluted":1}}}')
  await expectError(constructor, 'invalid_request', 'constructor: unknown field')
  const metadata = await post('{"name":"A","model":"m","metadata":{"__proto__":"x","constructor":"y"}}')
  expect(await metadata.json()).toMatchObject({ metadata: { constructor: 'y' } })
  expect({}).not.toHaveProperty('polluted')
})

test('no route, no method', async () => {
  await expectError(await server.fetch('/v1/nothing'), 'not_found', /no such route/)
  await expectError(await server.fetch('/v1/agents/'), 'not_found', /no such route/)
  await expectError(await fetch(`${server.url}/nothing`), 'not_found', /no such route/)
  const answer = await server.fetch('/v1/agents/agent_1', { method: 'PUT', body: '{}' })
  expect(answer.headers.get('allow')).toBe('GET, HEAD, OPTIONS, POST')
  await expectError(answer, 'method_not_allowed', /PUT/)
  await expectError(
    await server.fetch('/v1/sessions', { method: 'DELETE' }),
    'method_not_allowed',
    /GET, HEAD, OPTIONS, POST/,
  )
})

test('HEAD is GET without a body, OPTIONS says what there is', async () => {
  const head = await server.fetch('/v1/agents', { method: 'HEAD' })
  expect([head.status, await head.text()]).toEqual([200, ''])
  const options = await fetch(`${server.url}/v1/agents`, { method: 'OPTIONS' })
  expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS, POST'])
})

test.each(['..%2f..%2fetc%2fpasswd', '%00', 'agent_1%0a', '-rf', 'x'.repeat(129), '%E2%80%AE', '%ff'])(
  'an id that is none: %s',
  async (id) => {
    const answer = await server.fetch(`/v1/agents/${id}`)
    expect([400, 404]).toContain(answer.status)
    errorEnvelope.parse(await answer.json())
  },
)

test.each([
  ['limit=0', /^limit: /],
  ['limit=101', /^limit: /],
  ['limit=ten', /^limit: must be a whole number/],
  ['limit=1&limit=2', /^limit: /],
  ['include_archived=maybe', /^include_archived: /],
  ['created_at[gte]=yesterday', /^created_at\[gte\]: must be an RFC 3339 time/],
  ['page=page_nonsense', /^page: /],
])('a bad query: %s', async (query, message) => {
  await expectError(await server.fetch(`/v1/agents?${query}`), 'invalid_request', message)
})

test('unknown parameters and empty cursors of a query are passed over', async () => {
  const answer = await server.fetch('/v1/agents?beta=true&page=&nothing[]=1&limit=1', {
    headers: { 'anthropic-version': 'whatever', 'anthropic-beta': 'a,b' },
  })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('anthropic-workspace-id')).toBe('wrkspc_test')
})

test('a cursor leads nowhere but on in its own list, order and workspace', async () => {
  const agent = await server.client.beta.agents.create({ name: 'A', model: 'm' })
  const environment = await server.client.beta.environments.create({ name: 'e' })
  for (let i = 0; i < 2; i++) {
    await server.client.beta.sessions.create({ agent: agent.id, environment_id: environment.id })
  }
  const page = (await server.client.beta.sessions.list({ limit: 1 })).next_page ?? ''
  expect(page).toMatch(/^page_/)
  const refused = [
    `/v1/agents?page=${page}`,
    `/v1/sessions?page=${page}&order=asc`,
    `/v1/sessions?page=${page}&created_at[lt]=2000-01-01T00:00:00Z`,
    `/v1/sessions?page=${page.slice(0, -1)}`,
    `/v1/sessions?page=${page.slice(0, -2)}AA`,
    `/v1/sessions?page=${page}${page}`,
  ]
  for (const path of refused) await expectError(await server.fetch(path), 'invalid_request', /^page: /)
  const other = { headers: { authorization: `Bearer ${await server.otherWorkspaceKey()}` } }
  await expectError(await server.fetch(`/v1/sessions?page=${page}`, other), 'invalid_request', /^page: /)
  expect((await server.fetch(`/v1/sessions?page=${page}&limit=7&statuses[]=idle`)).status).toBe(200)
})

test('a key is needed, and it must be one key', async () => {
  const get = (headers: Record<string, string>) => fetch(`${server.url}/v1/agents`, { headers })
  await expectError(await get({}), 'unauthenticated', /API key is required/)
  await expectError(await get({ authorization: 'Basic dTpw' }), 'unauthenticated', /Bearer/)
  await expectError(await get({ authorization: 'Bearer berth_wrong' }), 'unauthenticated', /not known/)
  await expectError(await get({ 'x-api-key': `${server.key}x` }), 'unauthenticated', /not known/)
  await expectError(await get({ 'x-api-key': 'x'.repeat(600) }), 'unauthenticated', /not known/)
  const both = { authorization: `Bearer ${server.key}` }
  await expectError(await get({ ...both, 'x-api-key': 'berth_other' }), 'unauthenticated', /different keys/)
  expect((await get({ ...both, 'x-api-key': server.key })).status).toBe(200)
  expect((await get({ 'x-api-key': server.key })).status).toBe(200)
  expect((await get({ authorization: `bearer ${server.key}` })).status).toBe(200)
  const elsewhere = await get({ ...both, 'anthropic-workspace-id': 'wrkspc_other' })
  await expectError(elsewhere, 'forbidden', /anthropic-workspace-id/)
  await expectError(await fetch(`${server.url}/v1/agents?key=${server.key}`), 'unauthenticated', /required/)
})

const created = z.object({ id: z.string(), key: z.string(), hint: z.string() })
const listed = z.object({ data: z.array(z.looseObject({ id: z.string(), last_used_at: z.string().nullable() })) })

test('a key is shown once, works at once, and ends at once', async () => {
  const answer = await server.fetch('/berth/v1/keys', { method: 'POST', body: '{"name":"ci"}' })
  const { id, key, hint } = created.parse(await answer.json())
  expect(key).toMatch(/^berth_[\w-]{43}$/)
  expect(key.startsWith(hint.slice(0, -1))).toBe(true)
  const use = () => fetch(`${server.url}/v1/agents`, { headers: { 'x-api-key': key } })
  expect((await use()).status).toBe(200)
  const find = async () => {
    const found = await server.fetch('/berth/v1/keys?limit=100')
    const body = await found.text()
    expect(body).not.toContain(key)
    return listed.parse(JSON.parse(body)).data.find((one) => one.id === id)
  }
  await vi.waitFor(async () => expect((await find())?.last_used_at).not.toBeNull())
  const other = { authorization: `Bearer ${await server.otherWorkspaceKey()}` }
  const foreign = await server.fetch(`/berth/v1/keys/${id}/revoke`, { method: 'POST', headers: other })
  await expectError(foreign, 'not_found', id)
  const revoked = await server.fetch(`/berth/v1/keys/${id}/revoke`, { method: 'POST' })
  expect(await revoked.json()).toMatchObject({ id, revoked_at: expect.any(String) })
  await expectError(await use(), 'unauthenticated', /revoked/)
})

test('only known names may be called', async () => {
  const ask = (host: string) =>
    raw(`GET /v1/agents HTTP/1.1\r\nhost: ${host}\r\nx-api-key: ${server.key}\r\nconnection: close\r\n\r\n`)
  for (const host of [`127.0.0.1:${server.port}`, 'localhost', '[::1]:80', 'berth.example:443', 'BERTH.example']) {
    expect(await ask(host)).toMatch(/^HTTP\/1.1 200 /)
  }
  for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', 'xberth.example', '']) {
    expect(await ask(host)).toMatch(/^HTTP\/1.1 4\d\d /)
  }
  const twice = await ask('localhost\r\nhost: evil.example')
  expect(twice).toMatch(/^HTTP\/1.1 400 /)
})

test('pages of other origins may not call, those that are listed may', async () => {
  const ask = (origin: string, method = 'GET') => server.fetch('/v1/agents', { method, headers: { origin } })
  for (const origin of [
    'https://evil.example',
    'null',
    'https://console.example.evil.example',
    'http://console.example',
  ]) {
    const answer = await ask(origin)
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
    await expectError(answer, 'forbidden', /Origin/)
  }
  const listedOrigin = await ask('https://console.example')
  expect(listedOrigin.status).toBe(200)
  expect(listedOrigin.headers.get('access-control-allow-origin')).toBe('https://console.example')
  expect((await ask(server.url)).status).toBe(200)
  const preflight = await fetch(`${server.url}/v1/agents`, {
    method: 'OPTIONS',
    headers: { origin: 'https://console.example', 'access-control-request-headers': 'authorization' },
  })
  expect(preflight.status).toBe(204)
  expect(preflight.headers.get('access-control-allow-headers')).toBe('authorization')
  expect(preflight.headers.get('access-control-allow-origin')).toBe('https://console.example')
})

test('a fault of the server is logged under the id of the request, and hidden', async () => {
  await using own = await serveApp()
  const { id } = await own.client.beta.agents.create({ name: 'A', model: 'm' })
  const database = new DatabaseSync(own.databasePath)
  database.exec(`UPDATE agent_versions SET body = '{"secret":1' WHERE agent_id = '${id}'`)
  database.close()
  const answer = await own.fetch(`/v1/agents/${id}`)
  const requestId = answer.headers.get('request-id') ?? ''
  await expectError(answer, 'internal', /^internal server error$/)
  expect(own.logged).toHaveLength(1)
  expect(own.logged[0]).toContain(requestId)
  expect(own.logged[0]).toContain('SyntaxError')
})

test('while the store is away, clients are told to come back', async () => {
  await using own = await serveApp()
  await own.store[Symbol.asyncDispose]()
  await expectError(await own.fetch('/v1/agents'), 'unavailable', /store/)
})

test('health needs no key; readiness asks the engine', async () => {
  expect(await (await fetch(`${server.url}/healthz`)).json()).toEqual({ status: 'ok' })
  expect(await (await fetch(`${server.url}/readyz`)).json()).toEqual({ status: 'ready' })
})

const operation = z.looseObject({
  responses: z.record(z.string(), z.unknown()),
  security: z.array(z.unknown()).optional(),
})
const description = z.looseObject({
  openapi: z.string(),
  paths: z.record(z.string(), z.record(z.string(), operation)),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()) }),
})

test('the API describes itself, and every reference leads somewhere', async () => {
  const answer = await fetch(`${server.url}/openapi.json`)
  const body = await answer.text()
  const { openapi, paths, components } = description.parse(JSON.parse(body))
  expect(openapi).toBe('3.1.0')
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  )
  expect(routes).toEqual(
    expect.arrayContaining([
      'post /v1/agents',
      'get /v1/agents/{agent_id}/versions',
      'delete /v1/environments/{environment_id}',
      'post /v1/sessions/{session_id}/archive',
      'post /berth/v1/keys/{key_id}/revoke',
    ]),
  )
  for (const [path, methods] of Object.entries(paths)) {
    for (const one of Object.values(methods)) {
      if (/^\/(v1|berth)\//.test(path)) expect(one.security).toHaveLength(2)
    }
  }
  for (const [, name] of body.matchAll(/#\/components\/schemas\/(\w+)/g))
    expect(components.schemas).toHaveProperty(name ?? '')
  expect(components.schemas).toHaveProperty('CreateAgentParams.additionalProperties', false)
})
