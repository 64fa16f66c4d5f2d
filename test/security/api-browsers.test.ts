/** Every route, asked by pages that may not: of other origins, by forms, under names that lead here by a lie. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { serveApp, type TestServer } from '../../packages/server/test/serve-app.ts'
import { VaultGateway } from '../../packages/server/test/vault-gateway.ts'
import { say } from './api/raw.ts'
import { type Ask, askOf, Described, type Ids, newObjects } from './api/request.ts'
import { guardedRoutes, nameOf } from './api/routes.ts'
import { Tally } from './tally.ts'

const tally = new Tally('pages × routes')
const made = z.looseObject({ id: z.string() })
let server: TestServer
let described: Described
let ids: Ids
beforeAll(async () => {
  server = await serveApp(
    { allowedOrigins: ['https://console.example'], allowedHosts: ['berth.example'] },
    { gateway: new VaultGateway().client },
  )
  described = await Described.of(server)
  ids = await newObjects(async (path, body) =>
    made.parse(await (await server.fetch(path, { method: 'POST', body: JSON.stringify(body) })).json()),
  )
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  tally.end()
})

/** A browser may leave its key to the page, as where somebody pasted it into one. */
function words({ method, path, body = '', type }: Ask, headers: Readonly<Record<string, string>>): string {
  const all = {
    host: `127.0.0.1:${server.port}`,
    'x-api-key': server.key,
    connection: 'close',
    'content-length': String(Buffer.byteLength(body)),
    ...(type === undefined ? {} : { 'content-type': type }),
    ...headers,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}

async function eachRoute(
  tried: Readonly<Record<string, Readonly<Record<string, string>>>>,
  wanted: number,
  change: (ask: Ask) => Ask = (ask) => ask,
): Promise<void> {
  const found: Record<string, number | string> = {}
  for (const route of guardedRoutes(server)) {
    const ask = change(askOf(route, ids, described))
    await Promise.all(
      Object.entries(tried).map(async ([name, headers]) => {
        const { statuses, text } = await say(server.port, words(ask, headers))
        const isAllowed = /^access-control-allow/im.test(text)
        found[`${nameOf(route)}: ${name}`] = isAllowed ? 'the browser is told that it may' : statuses.join()
      }),
    )
  }
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, String(wanted)])))
}

const origins = (): Record<string, string> => ({
  'another site': 'https://evil.example',
  'a page without an origin': 'null',
  'a file': 'file://',
  'an extension': 'chrome-extension://abcdefghijklmnop',
  'another program of this machine': `http://127.0.0.1:${server.port + 1}`,
  'this machine under its other name': `http://localhost:${server.port}`,
  'a name that begins as ours': `http://127.0.0.1:${server.port}.evil.example`,
  'a name that ends as ours': 'https://evil-console.example',
  'our name over another protocol': 'http://console.example',
  'our name at another port': 'https://console.example:8443',
  'our name and a user': 'https://console.example@evil.example',
  'our name and a path': 'https://console.example/',
  'two origins': 'https://console.example, https://evil.example',
  'an empty one': '',
})

const asHeaders = (values: Readonly<Record<string, string>>, header: string) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { [header]: value }]))

test('pages of other origins are refused by every route, streams included', async () => {
  await eachRoute(asHeaders(origins(), 'origin'), 403)
})

test('no page of another origin is told that it may ask', async () => {
  const tried = Object.fromEntries(
    Object.entries(asHeaders(origins(), 'origin')).map(([name, header]) => [
      name,
      {
        ...header,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
        'x-api-key': '',
      },
    ]),
  )
  await eachRoute(tried, 403, (ask) => ({ method: 'OPTIONS', path: ask.path }))
})

test('names that lead here by a lie are refused by every route, streams included', async () => {
  const hosts = {
    'another name': 'evil.example',
    'another name at our port': `evil.example:${server.port}`,
    'a name that begins as ours': '127.0.0.1.evil.example',
    'a name that ends as ours': 'xberth.example',
    'a name below ours': 'x.berth.example',
    'a public address': '93.184.215.14',
    'another address of loopback': '127.0.0.2',
    'our address as a number': '2130706433',
    'our address in octal': '0177.0.0.1',
    'any address': '0.0.0.0',
    'ours with a dot behind it': 'localhost.',
  }
  await eachRoute(asHeaders(hosts, 'host'), 403)
})

test('what a form can send is refused by every route that takes a body', async () => {
  const types = [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain;application/json',
  ]
  const before = (await server.client.beta.agents.list()).data.length
  const found: Record<string, number> = {}
  for (const route of guardedRoutes(server)) {
    const ask = askOf(route, ids, described)
    if (ask.type !== 'application/json') continue
    for (const type of types) {
      const { statuses } = await say(server.port, words(ask, { 'content-type': type }))
      found[`${nameOf(route)} ${type}`] = statuses[0] ?? 0
    }
  }
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, 400])))
  expect((await server.client.beta.agents.list()).data).toHaveLength(before)
})

test('a WebSocket does not get around any of it', async () => {
  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  }
  const path = `/v1/sessions/${ids['session_id']}/events/stream`
  const get = { method: 'GET', path }
  const found: Record<string, string> = {}
  const tried = {
    'of another origin': { origin: 'https://evil.example' },
    'under another name': { host: 'evil.example' },
    'without a key': { 'x-api-key': '' },
    'with the key as its protocol': { 'x-api-key': '', 'sec-websocket-protocol': server.key },
  }
  for (const [name, headers] of Object.entries(tried)) {
    found[name] = (await say(server.port, words(get, { ...upgrade, ...headers }))).statuses.join()
  }
  tally.expectAll(found, {
    'of another origin': '403',
    'under another name': '403',
    'without a key': '401',
    'with the key as its protocol': '401',
  })
})

test('nothing that is answered sets a cookie, or may be kept or shown as a page', async () => {
  for (const path of ['/v1/agents', '/v1/nothing', '/openapi.json', '/healthz']) {
    const answer = await server.fetch(path, { headers: { origin: 'https://console.example' } })
    tally.count(
      answer.headers.get('set-cookie') === null &&
        answer.headers.get('content-type')?.startsWith('application/json') === true,
    )
    expect(answer.headers.get('set-cookie')).toBeNull()
    expect(answer.headers.get('access-control-allow-credentials')).toBeNull()
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
  }
})
