/** Ids, names, prompts and filters that are meant to be something else to whatever they are passed on to. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { errorEnvelope } from '@berth/protocol/api/error'
import { serveApp, type TestServer } from '../../packages/server/test/serve-app.ts'
import { VaultGateway } from '../../packages/server/test/vault-gateway.ts'
import { say } from './api/raw.ts'
import { askOf, Described, type Ids, newObjects } from './api/request.ts'
import { guardedRoutes, nameOf, paramsOf } from './api/routes.ts'
import { Tally } from './tally.ts'

const tally = new Tally('texts')
const made = z.looseObject({ id: z.string() })
let server: TestServer
let described: Described
let ids: Ids
beforeAll(async () => {
  server = await serveApp({}, { gateway: new VaultGateway().client })
  described = await Described.of(server)
  ids = await newObjects(async (path, body) => made.parse(await (await post(path, body)).json()))
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  tally.end()
})

const post = (path: string, body: unknown): Promise<Response> =>
  server.fetch(path, { method: 'POST', body: JSON.stringify(body) })

/** As they stand in the path. */
const odd = [
  '..',
  '../..',
  '%2e%2e',
  '%2e%2e%2f%2e%2e%2fetc%2fpasswd',
  '..%5c..%5cetc',
  '%252e%252e%252f',
  '%00',
  'agent_1%00',
  'agent_1%0a',
  'agent_1%0d%0aset-cookie:%20a=b',
  '-rf',
  '--help',
  '%E2%80%AE',
  'a%CC%81',
  '%C3%A1',
  '%ff%fe',
  '%',
  '*',
  '$(id)',
  '%60id%60',
  "'%20OR%201=1%20--",
  '%25',
  '_',
  'constructor',
  '__proto__',
  'x'.repeat(129),
  'x'.repeat(4_096),
]

test('an odd id is refused by every route, or is nobody’s', async () => {
  const found: Record<string, boolean> = {}
  for (const route of guardedRoutes(server)) {
    for (const param of paramsOf(route)) {
      await Promise.all(
        odd.map(async (id) => {
          const {
            method,
            path,
            body = '',
            type = 'application/json',
          } = askOf(route, { ...ids, [param]: id }, described)
          const head = `host: localhost\r\nx-api-key: ${server.key}\r\ncontent-type: ${type}\r\nconnection: close`
          const length = `content-length: ${Buffer.byteLength(body)}`
          const { statuses, text } = await say(
            server.port,
            `${method} ${path} HTTP/1.1\r\n${head}\r\n${length}\r\n\r\n${body}`,
          )
          const isRefused = statuses.length === 1 && [400, 404, 405].includes(statuses[0] ?? 0)
          found[`${nameOf(route)} ${param}=${id}`] = isRefused && !/^set-cookie/im.test(text)
        }),
      )
    }
  }
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, true])))
  expect(server.logged).toEqual([])
})

const texts: Readonly<Record<string, string>> = {
  'line ends and a header': 'a\r\nset-cookie: b=c\r\n\r\n<html>',
  quotes: `"';--\\"\\'`,
  'a flag': '--privileged',
  'a shell': '$(touch /tmp/berth-owned) `id` ; | && \n',
  'a path': '../../../../etc/passwd',
  'a format': '%s%s%n {{7*7}} ${7*7} <%= 7*7 %>',
  'a page': '<script>alert(1)</script><svg onload=alert(1)>',
  'line ends of Unicode': 'a\u2028b\u2029c\u0085d',
  'the other direction': '\u202Etxt.exe\u202C',
  'composed and decomposed': 'á\u0061\u0301 ﬁ Å Å',
  'a terminal': '\u001B]52;c;cm0=\u0007\u001B[2J\u009B31m',
  'nothing to see': '\u200B\uFEFF\u00AD\u034F',
  'far planes': '𐏿🙂👩‍👩‍👧‍👦\u{10FFFF}',
  'a wildcard': '%_*?[a-z]',
  'names of the prototype': '__proto__ constructor toString',
  'a log line': '"}\n{"level":60,"msg":"owned"}',
}

test('a text is kept to the byte, and is text in every answer', async () => {
  const found: Record<string, unknown> = {}
  for (const [name, text] of Object.entries(texts)) {
    const metadata = { [text.slice(0, 64)]: text }
    const agent = await post('/v1/agents', { name: text, model: 'm', description: text, system: text, metadata })
    const shown = await server.fetch(`/v1/agents/${made.parse(await agent.json()).id}`)
    expect(shown.headers.get('set-cookie')).toBeNull()
    const content = [{ type: 'text', text }]
    const events = await post(`/v1/sessions/${ids['session_id']}/events`, {
      events: [{ type: 'user.message', content }],
    })
    const sent = z.object({ data: z.array(z.object({ content: z.unknown() })) }).parse(await events.json())
    const { name: named, description, system, metadata: kept } = z.looseObject({}).parse(await shown.json())
    found[name] = [named, description, system, kept, sent.data[0]?.content]
  }
  const wanted = Object.entries(texts).map(([name, text]) => {
    const metadata = { [text.slice(0, 64)]: text }
    return [name, [text, text, text, metadata, [{ type: 'text', text }]]]
  })
  tally.expectAll(found, Object.fromEntries(wanted))
  // That nothing here makes sandboxes is told, a line each, and no text of these.
  for (const line of server.logged) {
    expect(line.trimEnd()).not.toContain('\n')
    expect(JSON.parse(line)).toMatchObject({ level: 50, err: { message: 'no sandboxes here' } })
    expect(line).not.toMatch(/owned|passwd|alert/)
  }
})

test('a prompt of 10 MB, and one with every character, come back as they were', async () => {
  const every = Array.from({ length: 0xd800 }, (_, code) => String.fromCharCode(code)).join('')
  const found: Record<string, boolean> = {}
  for (const [name, text] of Object.entries({ 'every character': every, '10 MB': 'é\n'.repeat(3_400_000) })) {
    const content = [{ type: 'text', text }]
    const answer = await post(`/v1/sessions/${ids['session_id']}/events`, {
      events: [{ type: 'user.message', content }],
    })
    const sent = z
      .object({ data: z.tuple([z.object({ id: z.string(), content: z.unknown() })]) })
      .parse(await answer.json())
    const listed = await server.fetch(`/v1/sessions/${ids['session_id']}/events?order=desc&limit=1`)
    found[name] =
      JSON.stringify(sent.data[0].content) === JSON.stringify(content) &&
      (await listed.text()).includes(JSON.stringify(text))
  }
  tally.expectAll(found, { 'every character': true, '10 MB': true })
})

test('what cannot be kept is refused by name', async () => {
  const found: Record<string, string> = {}
  const bad = { 'a NUL': 'a\u0000b', 'half a pair': 'a\ud800', 'the other half': '\udc00b' }
  for (const [name, text] of Object.entries(bad)) {
    for (const [field, body] of Object.entries({
      name: { name: text, model: 'm' },
      'metadata.a': { name: 'A', model: 'm', metadata: { a: text } },
    })) {
      const answer = errorEnvelope.parse(await (await post('/v1/agents', body)).json())
      found[`${name} in ${field}`] = answer.error.message.slice(0, field.length)
    }
  }
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, name.split(' in ')[1]])))
})

/** Texts at which a rule that tries again and again would stand still. */
const standing: Readonly<Record<string, string>> = {
  'letters and a stop': `${'a'.repeat(100_000)}!`,
  labels: `${'a.'.repeat(50_000)}!`,
  hyphens: `a${'-'.repeat(100_000)}`,
  digits: `2030-01-01T00:00:00.${'0'.repeat(100_000)}x`,
  spaces: `${' '.repeat(100_000)}x`,
  wildcards: '*.'.repeat(50_000),
  slashes: '/'.repeat(100_000),
  'percent signs': '%'.repeat(100_000),
}

/** Within 2 seconds of the processor, as others use it too. */
async function isRefusedSoon(ask: () => Promise<Response>): Promise<boolean> {
  const before = process.cpuUsage()
  const { status } = await ask()
  const { user, system } = process.cpuUsage(before)
  return status === 400 && user + system < 2_000_000
}

test('no rule for texts stands still', async () => {
  const limited = (host: string) => ({ type: 'cloud', networking: { type: 'limited', allowed_hosts: [host] } })
  const found: Record<string, boolean> = {}
  for (const [name, text] of Object.entries(standing)) {
    const tries: [string, unknown][] = [
      ['/v1/environments', { name: 'e', config: limited(text) }],
      ['/v1/environments', { name: 'e', config: { type: 'cloud', berth: { image: text } } }],
      ['/v1/environments', { name: 'e', config: { type: 'cloud', packages: { npm: [text], pip: [text] } } }],
      ['/v1/agents', { name: text, model: text }],
      ['/berth/v1/keys', { name: 'k', expires_at: text }],
      ['/v1/sessions', { agent: text, environment_id: text, title: text }],
    ]
    for (const [path, body] of tries) {
      found[`${name}: ${path} ${JSON.stringify(body).slice(0, 60)}`] = await isRefusedSoon(() => post(path, body))
    }
    const query = new URLSearchParams({
      'created_at[gte]': text.slice(0, 8_000),
      page: text.slice(0, 4_000),
    }).toString()
    found[`${name}: a query`] = await isRefusedSoon(() => server.fetch(`/v1/sessions?${query}`.slice(0, 15_000)))
  }
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, true])))
})

test('wildcards and SQL in a filter are what they say', async () => {
  const filters = ['%', '_%', 'agent%', "' OR '1'='1", "'; DROP TABLE agents; --", 'a*', '[a-z]*']
  const found: Record<string, number | string> = {}
  for (const filter of filters) {
    const value = encodeURIComponent(filter)
    for (const path of [
      `/v1/sessions/${ids['session_id']}/events?types[]=${value}`,
      `/v1/sessions?agent_id=${value}`,
    ]) {
      const answer = await server.fetch(path)
      const body = await answer.text()
      found[path] = answer.status === 200 ? body.slice(0, 10) : answer.status
    }
  }
  const wanted = Object.keys(found).map((path) => [path, path.includes('types') ? '{"data":[]' : 400])
  tally.expectAll(found, Object.fromEntries(wanted))
})
