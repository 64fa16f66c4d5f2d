import Anthropic from '@anthropic-ai/sdk'
import { VERSION } from '@anthropic-ai/sdk/version'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { serveApp, type TestServer } from '../../packages/server/test/serve-app.ts'
import { codeIn, readPage, rowsOf, sectionOf } from './page.ts'

const page = readPage('docs/reference/api-coverage.md')
const sections = ['## Agents', '## Environments', '## Sessions', '## Vaults, memory, files, skills']
const methods = [...sections, '## Deployments and webhooks'].flatMap((heading) =>
  rowsOf(sectionOf(page, heading)).map(([method = '', http = '', there = '']) => ({
    method: codeIn(method),
    http: codeIn(http),
    there,
  })),
)
const outside = [...sectionOf(page, '## Outside of the profile').matchAll(/`(\w+)`/g)].map(([, name]) => name)

let server: TestServer
beforeAll(async () => {
  server = await serveApp()
})
afterAll(() => server[Symbol.asyncDispose]())

type Method = (...args: unknown[]) => unknown

/** Every method of the client below `client.beta`, by its words. */
function methodsOf(resource: object, words: string, found = new Map<string, Method>()): Map<string, Method> {
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(resource))) {
    const member: unknown = Reflect.get(resource, name)
    if (name !== 'constructor' && isMethod(member)) found.set(words + name, member.bind(resource))
  }
  for (const [name, below] of Object.entries(resource)) {
    const isResource = typeof below === 'object' && below !== null && !name.startsWith('_')
    if (isResource && !outside.includes(name)) methodsOf(below, `${words}${name}.`, found)
  }
  return found
}

function isMethod(value: unknown): value is Method {
  return typeof value === 'function'
}

it('docs/reference/api-coverage.md lists the methods of the official client, each once', () => {
  expect(page).toContain(`\`@anthropic-ai/sdk\` ${VERSION},`)
  const { beta } = new Anthropic({ apiKey: 'none' })
  expect(outside.every((name) => name !== undefined && name in beta)).toBe(true)
  const listed = methods.map(({ method }) => method).sort()
  expect(listed).toEqual([...methodsOf(beta, '').keys()].sort())
})

it.each(methods.filter(({ http }) => http !== '–'))('$method is $http', async ({ method, http }) => {
  const [verb, path = ''] = http.split(' ')
  let asked = ''
  const client = new Anthropic({
    apiKey: 'none',
    baseURL: 'http://127.0.0.1:1',
    maxRetries: 0,
    fetch: (url, init) => {
      asked = `${init?.method?.toUpperCase()} ${new URL(url instanceof Request ? url.url : url).pathname}`
      return Promise.resolve(Response.json({}, { status: 404 }))
    },
  })
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
  const file = new File(['x'], 'x.txt')
  const params = { ...Object.fromEntries(names.map((name) => [name, name])), file, files: [file] }
  const last = names.at(-1)
  const call = methodsOf(client.beta, '').get(method)
  await Promise.resolve(call?.(...(last === undefined ? [] : [last]), params)).catch(() => undefined)
  expect(asked).toBe(`${verb} ${path.replaceAll(/[{}]/g, '')}`)
})

it('says of each route whether it is there', async () => {
  const openapi = z.object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) })
  const { paths } = openapi.parse(await (await server.fetch('/openapi.json')).json())
  const real = Object.entries(paths).flatMap(([path, verbs]) =>
    Object.keys(verbs).map((verb) => `${verb.toUpperCase()} ${path}`),
  )
  const ours = rowsOf(sectionOf(page, '## Our own routes')).map(([route = '']) => codeIn(route))
  const there = methods.flatMap(({ http, there: state }) => (state === 'yes' && http !== '–' ? [http] : []))
  expect([...there, ...ours].sort()).toEqual(real.sort())
})

it.each(methods.filter(({ http, there }) => http !== '–' && there === 'no'))(
  '$method answers 501 and names the route',
  async ({ http }) => {
    const [method = '', path = ''] = http.replaceAll(/[{}]/g, '').split(' ')
    const answer = await server.fetch(path, { method })
    expect(answer.status).toBe(501)
    expect(await answer.text()).toContain(`${method} ${path}: `)
  },
)

const refusals = rowsOf(sectionOf(page, '## What answers 501')).map(([place = '', example = '', named = '']) => ({
  place,
  example: z.record(z.string(), z.unknown()).parse(JSON.parse(codeIn(example))),
  named: codeIn(named),
}))

it.each(refusals)('$place $named answers 501', async ({ place, example, named }) => {
  const answer = await send(place, example)
  expect(await answer.text()).toContain(`"message":"${named}`)
  expect(answer.status).toBe(501)
})

async function send(place: string, example: Record<string, unknown>): Promise<Response> {
  const post = (path: string, body: unknown) => server.fetch(path, { method: 'POST', body: JSON.stringify(body) })
  if (place === 'agent') return await post('/v1/agents', { name: 'A', model: 'claude-sonnet-5-5', ...example })
  if (place === 'environment') return await post('/v1/environments', { name: 'E', ...example })
  const { agents, environments, sessions } = server.client.beta
  const agent = await agents.create({ name: 'A', model: 'claude-sonnet-5-5' })
  const environment = await environments.create({ name: 'E' })
  const ids = { agent: agent.id, environment_id: environment.id }
  if (place === 'session') return await post('/v1/sessions', { ...ids, ...example })
  const session = await sessions.create(ids)
  return await post(`/v1/sessions/${session.id}/events`, { events: [example] })
}
