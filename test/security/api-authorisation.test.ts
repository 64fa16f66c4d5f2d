/** Every route × every key that is not good for it. The routes are the application's own: a new one is tried without being named here. */
import { createHash } from 'node:crypto'
import { dirname } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { errorEnvelope } from '@berth/protocol/api/error'
import { newKey } from '@berth/server'
import { type Clock, systemClock } from '../../packages/server/src/domain/clock.ts'
import { serveApp, type TestServer } from '../../packages/server/test/serve-app.ts'
import { VaultGateway } from '../../packages/server/test/vault-gateway.ts'
import { type Ask, askOf, Described, type Ids, newObjects, noObjects } from './api/request.ts'
import { guardedRoutes, nameOf, paramsOf, type Route } from './api/routes.ts'
import { Tally } from './tally.ts'

const tally = new Tally('keys × routes')
let server: TestServer
let described: Described
let foreignKey: string
let away = 0
const clock: Clock = { now: () => new Date(systemClock.now().getTime() + away) }
const made = z.looseObject({ id: z.string(), key: z.string().optional() })

beforeAll(async () => {
  server = await serveApp({}, { clock, gateway: new VaultGateway().client })
  described = await Described.of(server)
  foreignKey = await server.otherWorkspaceKey()
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  tally.end()
})

async function make(path: string, body: unknown): Promise<z.infer<typeof made>> {
  const answer = await server.fetch(path, { method: 'POST', body: JSON.stringify(body) })
  expect(answer.status).toBe(200)
  return made.parse(await answer.json())
}

interface Answer {
  readonly status: number
  readonly body: string
}

/** As it stands, with these headers and no others. Of a stream, what it says at first. */
async function send(ask: Ask, headers: Readonly<Record<string, string>>): Promise<Answer> {
  const type: Record<string, string> = ask.type === undefined ? {} : { 'content-type': ask.type }
  const answer = await fetch(server.url + ask.path, {
    method: ask.method,
    headers: { ...type, ...headers },
    ...(ask.body === undefined ? {} : { body: ask.body }),
  })
  const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream') === true
  if (!isStream) return { status: answer.status, body: await answer.text() }
  await answer.body?.cancel()
  return { status: answer.status, body: '' }
}

/** What two refusals must not differ in. */
function shapeOf({ status, body }: Answer, ids: Ids): unknown {
  const { error, request_id: _, ...rest } = errorEnvelope.parse(JSON.parse(body))
  const message = Object.values(ids).reduce((text, id) => text.replaceAll(id, '<id>'), error.message)
  return { status, ...rest, error: { ...error, message } }
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

async function endedKeys(): Promise<{ revoked: string; expired: string }> {
  const revoked = await make('/berth/v1/keys', { name: 'revoked' })
  await server.fetch(`/berth/v1/keys/${revoked.id}/revoke`, { method: 'POST' })
  const soon = new Date(clock.now().getTime() + 1_000).toISOString()
  const expired = await make('/berth/v1/keys', { name: 'expired', expires_at: soon })
  away += 1_000
  return { revoked: revoked.key ?? '', expired: expired.key ?? '' }
}

async function badKeys(): Promise<Record<string, Readonly<Record<string, string>>>> {
  const { key } = server
  const { revoked, expired } = await endedKeys()
  const other = key.endsWith('A') ? 'B' : 'A'
  return {
    'no key': {},
    'an empty bearer': { authorization: 'Bearer ' },
    'an empty key': { 'x-api-key': '' },
    'a key in the wrong scheme': { authorization: `Basic ${Buffer.from(`:${key}`).toString('base64')}` },
    'a key without a scheme': { authorization: key },
    'a key with words behind it': { authorization: `Bearer ${key} x` },
    'two keys in one header': { authorization: `Bearer ${key}, Bearer ${key}x` },
    'two different keys': { ...bearer(key), 'x-api-key': foreignKey },
    'a key that nobody has': bearer(newKey().key),
    'a key with its last character changed': bearer(key.slice(0, -1) + other),
    'a key in capitals': bearer(key.toUpperCase()),
    'the beginning of a key': bearer(key.slice(0, -1)),
    'a key with more behind it': { 'x-api-key': `${key}x` },
    'a key of 8 kB': bearer(`berth_${'x'.repeat(8_000)}`),
    'a wildcard': bearer('%'),
    SQL: { 'x-api-key': "' OR 1=1 --" },
    'a revoked key': bearer(revoked),
    'an expired key': bearer(expired),
    'a key in a cookie': { cookie: `x-api-key=${key}; authorization=Bearer ${key}` },
    'a key for a proxy': { 'proxy-authorization': `Bearer ${key}` },
    'a name in another server’s header': { 'x-forwarded-user': 'admin', 'x-real-ip': '127.0.0.1' },
  }
}

/** What lists show, as digests: the same before and after means that nothing was changed. */
async function everything(): Promise<Record<string, string>> {
  const digests: Record<string, string> = {}
  for (const path of ['/v1/agents', '/v1/environments', '/v1/sessions', '/berth/v1/keys']) {
    const text = await (await server.fetch(`${path}?limit=100`)).text()
    const lasting = text.replaceAll(/"(?:last_used_at|duration_seconds)":[^,}]+/g, '')
    digests[path] = createHash('sha256').update(lasting).digest('hex')
  }
  return digests
}

async function eachRoute(attack: (route: Route) => Promise<void>): Promise<void> {
  for (const route of guardedRoutes(server)) await attack(route)
}

test('no route takes a key that is none, and all refuse in the same words', async () => {
  const ids = await newObjects(make)
  const bad = await badKeys()
  const before = await everything()
  const found: Record<string, number> = {}
  await eachRoute(async (route) => {
    const ask = askOf(route, ids, described)
    for (const [what, headers] of Object.entries(bad)) {
      const answer = await send(ask, headers)
      found[`${nameOf(route)}: ${what}`] = answer.status
      expect(shapeOf(answer, ids)).toMatchObject({ error: { type: 'authentication_error' } })
      expect(answer.body).not.toContain(server.key)
    }
    // Whoever tries too many in too short a time is told something else.
    away += 60_000
  })
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, 401])))
  expect(await everything()).toEqual(before)
})

test('no route takes a key in its URL', async () => {
  const ids = await newObjects(make)
  const found: Record<string, number> = {}
  await eachRoute(async (route) => {
    const ask = askOf(route, ids, described)
    const mark = ask.path.includes('?') ? '&' : '?'
    for (const name of ['key', 'api_key', 'x-api-key', 'token', 'access_token', 'authorization', 'berth_token']) {
      const { status, body } = await send({ ...ask, path: `${ask.path}${mark}${name}=${server.key}` }, {})
      found[`${nameOf(route)} ?${name}=`] = status
      expect(body).not.toContain(server.key)
    }
  })
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, 401])))
  expect(server.logged.join()).not.toContain(server.key)
})

test('HEAD is guarded as GET is', async () => {
  const ids = await newObjects(make)
  const found: Record<string, number> = {}
  await eachRoute(async (route) => {
    if (route.method !== 'GET') return
    found[nameOf(route)] = (await send({ ...askOf(route, ids, described), method: 'HEAD' }, {})).status
  })
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, 401])))
})

test('what is another workspace’s does not exist, and nothing tells it from what nobody has', async () => {
  await eachRoute(async (route) => {
    if (!paramsOf(route).some((name) => name.endsWith('_id'))) return
    const ids = await newObjects(make)
    const nobodys = noObjects(ids)
    const before = await everything()
    const foreign = await send(askOf(route, ids, described), bearer(foreignKey))
    const unknown = await send(askOf(route, nobodys, described), bearer(foreignKey))
    const [one, other] = [shapeOf(foreign, ids), shapeOf(unknown, nobodys)]
    tally.expectAll({ [nameOf(route)]: one }, { [nameOf(route)]: other })
    expect({ route: nameOf(route), one }).toMatchObject({ one: { status: 404, error: { type: 'not_found_error' } } })
    expect(await everything()).toEqual(before)
    // It was not for anything else that it was refused: what the workspace itself is told is something else.
    const own = await send(askOf(route, ids, described), bearer(server.key))
    expect([401, 403]).not.toContain(own.status)
    expect(own.body).not.toContain(dirname(server.databasePath))
    if (own.status >= 400) expect(shapeOf(own, ids)).not.toEqual(one)
  })
})

test('lists of another workspace have nothing of ours', async () => {
  const ids = await newObjects(make)
  const found: Record<string, boolean> = {}
  await eachRoute(async (route) => {
    if (route.method !== 'GET' || paramsOf(route).length > 0) return
    const { body } = await send(askOf(route, ids, described), bearer(foreignKey))
    found[nameOf(route)] = Object.values(ids).some((id) => body.includes(id))
  })
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, false])))
  expect(Object.keys(found).length).toBeGreaterThanOrEqual(4)
})

test('a key for reading reads what another reads, and changes nothing', async () => {
  const ids = await newObjects(make)
  const reading = bearer((await make('/berth/v1/keys', { name: 'reading', scope: 'read' })).key ?? '')
  const before = await everything()
  const found: Record<string, number> = {}
  const wanted: Record<string, number> = {}
  await eachRoute(async (route) => {
    const ask = askOf(route, ids, described)
    const name = nameOf(route)
    found[name] = (await send(ask, reading)).status
    wanted[name] = route.method === 'GET' ? (await send(ask, bearer(server.key))).status : 403
  })
  tally.expectAll(found, wanted)
  expect(await everything()).toEqual(before)
})

test('a key makes no stronger one', async () => {
  const end = new Date(clock.now().getTime() + 60_000)
  const expiring = bearer((await make('/berth/v1/keys', { name: 'k', expires_at: end.toISOString() })).key ?? '')
  const ask = (expires_at: string | null | undefined) => ({
    method: 'POST',
    path: '/berth/v1/keys',
    type: 'application/json',
    body: JSON.stringify({ name: 'stronger', expires_at }),
  })
  const at = (ms: number) => new Date(end.getTime() + ms).toISOString()
  const tried = { 'no end': undefined, 'an end never': null, 'a later end': at(1), 'the same end': at(0) }
  const found: Record<string, number> = {}
  for (const [name, expires] of Object.entries(tried)) found[name] = (await send(ask(expires), expiring)).status
  found['an end in the past'] = (await send(ask(new Date(clock.now().getTime()).toISOString()), expiring)).status
  found['an end in the year 10000'] = (await send(ask('9999-12-31T23:59:59-01:00'), bearer(server.key))).status
  tally.expectAll(found, {
    'no end': 403,
    'an end never': 403,
    'a later end': 403,
    'the same end': 200,
    'an end in the past': 400,
    'an end in the year 10000': 400,
  })
})
