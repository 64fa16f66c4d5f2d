/** Ids of another workspace's objects where they are not in the path: in bodies, queries, headers, and below an object of one's own. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { serveApp, type TestServer } from '../../packages/server/test/serve-app.ts'
import { VaultGateway } from '../../packages/server/test/vault-gateway.ts'
import { type Ids, newObjects } from './api/request.ts'
import { Tally } from './tally.ts'

const tally = new Tally('foreign ids')
const made = z.looseObject({ id: z.string() })
const sent = z.object({ data: z.array(z.object({ id: z.string() })) })
let server: TestServer
/** What is to be kept from the attacker, and what the attacker has. */
let theirs: Ids & { readonly event_id: string }
let own: Ids
let ask: (path: string, body?: unknown, headers?: Record<string, string>) => Promise<Answer>

interface Answer {
  readonly status: number
  readonly body: string
}

beforeAll(async () => {
  server = await serveApp({}, { gateway: new VaultGateway().client })
  const as =
    (key: string) =>
    async (path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> => {
      const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
      const answer = await server.fetch(path, { ...init, headers: { authorization: `Bearer ${key}`, ...headers } })
      const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream') === true
      if (isStream) await answer.body?.cancel()
      return { status: answer.status, body: isStream ? '' : await answer.text() }
    }
  const make = (call: typeof ask) => async (path: string, body: unknown) =>
    made.parse(JSON.parse((await call(path, body)).body))
  const victim = as(server.key)
  ask = as(await server.otherWorkspaceKey())
  const ids = await newObjects(make(victim))
  const interrupt = await victim(`/v1/sessions/${ids['session_id']}/events`, { events: [{ type: 'user.interrupt' }] })
  const [event] = sent.parse(JSON.parse(interrupt.body)).data
  theirs = { ...ids, event_id: event?.id ?? '' }
  own = await newObjects(make(ask))
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  tally.end()
})

const namesTheirs = ({ body }: Answer, but = ''): boolean =>
  Object.values(theirs).some((id) => id !== '' && id !== but && body.includes(id))

test('in a body they do not exist', async () => {
  const session = `/v1/sessions/${own['session_id']}`
  const agent = theirs['agent_id']
  const environment_id = own['environment_id']
  const confirm = { type: 'user.tool_confirmation', tool_use_id: theirs.event_id, result: 'allow' }
  const tried: [string, string, unknown][] = [
    ['a session of their agent', '/v1/sessions', { agent, environment_id }],
    [
      'a session of a version of it',
      '/v1/sessions',
      { agent: { type: 'agent', id: agent, version: 1 }, environment_id },
    ],
    [
      'a session of their agent, changed',
      '/v1/sessions',
      { agent: { type: 'agent_with_overrides', id: agent }, environment_id },
    ],
    [
      'a session in their environment',
      '/v1/sessions',
      { agent: own['agent_id'], environment_id: theirs['environment_id'] },
    ],
    ['a fork at their event', `/berth${session}/fork`, { event_id: theirs.event_id }],
    ['a fork at their checkpoint', `/berth${session}/fork`, { checkpoint_id: 'chkp_theirs' }],
    ['an answer to their call', `${session}/events`, { events: [confirm] }],
    [
      'a result for their call',
      `${session}/events`,
      { events: [{ type: 'user.custom_tool_result', custom_tool_use_id: theirs.event_id }] },
    ],
    [
      'a pool of their agent',
      `/v1/environments/${own['environment_id']}`,
      { config: { type: 'cloud', berth: { lifecycle: { type: 'ephemeral' }, warm_pool: { size: 1, agent } } } },
    ],
    ['an agent in their workspace', '/v1/agents', { name: 'A', model: 'm', workspace_id: 'wrkspc_test' }],
    ['an agent in their workspace, by another name', '/v1/agents', { name: 'A', model: 'm', workspace: 'wrkspc_test' }],
    ['a key of their workspace', '/berth/v1/keys', { name: 'k', workspace_id: 'wrkspc_test' }],
    [
      'an event of their session',
      `${session}/events`,
      { session_id: theirs['session_id'], events: [{ type: 'user.interrupt' }] },
    ],
    [
      'two events, one below their session',
      `${session}/events`,
      { events: [{ type: 'user.interrupt' }, { type: 'user.interrupt', session_thread_id: theirs['session_id'] }] },
    ],
  ]
  const before = (await server.fetch('/v1/sessions')).text()
  const found: Record<string, string> = {}
  for (const [name, path, body] of tried) {
    const { status } = await ask(path, body)
    found[name] = status >= 400 && status < 500 ? 'refused' : String(status)
  }
  tally.expectAll(found, Object.fromEntries(tried.map(([name]) => [name, 'refused'])))
  const withoutTimes = (text: string) => text.replaceAll(/"duration_seconds":[^,}]+/g, '')
  expect(withoutTimes(await (await server.fetch('/v1/sessions')).text())).toBe(withoutTimes(await before))
})

test('in a query they match nothing', async () => {
  const paths = [
    `/v1/sessions?agent_id=${theirs['agent_id']}`,
    '/v1/sessions?workspace_id=wrkspc_test',
    '/v1/agents?workspace=wrkspc_test',
    '/v1/agents?tenant=wrkspc_test&workspace_id[]=wrkspc_test',
    '/berth/v1/keys?workspace_id=wrkspc_test',
    `/v1/sessions/${own['session_id']}/events?session_id=${theirs['session_id']}`,
    `/v1/sessions/${own['session_id']}/events?types[]=${encodeURIComponent("' OR '1'='1")}`,
    `/v1/agents/${own['agent_id']}?agent_id=${theirs['agent_id']}`,
  ]
  const found: Record<string, boolean> = {}
  for (const path of paths) {
    const answer = await ask(path)
    found[path] = answer.status < 500 && !namesTheirs(answer)
  }
  tally.expectAll(found, Object.fromEntries(paths.map((path) => [path, true])))
})

test('in a header they give nothing', async () => {
  const list = '/v1/agents'
  const stream = `/v1/sessions/${own['session_id']}/events/stream`
  const found = {
    'the workspace’s own header': (await ask(list, undefined, { 'anthropic-workspace-id': 'wrkspc_test' })).status,
    'a header like it': namesTheirs(
      await ask(list, undefined, { 'x-workspace-id': 'wrkspc_test', 'x-tenant': 'wrkspc_test' }),
    ),
    'their event to resume by': (await ask(stream, undefined, { 'last-event-id': theirs.event_id })).status,
  }
  tally.expectAll(found, {
    'the workspace’s own header': 403,
    'a header like it': false,
    'their event to resume by': 400,
  })
})

test('of one’s own, the same is taken', async () => {
  const { agent_id: agent, environment_id } = own
  const warm = { type: 'cloud', berth: { lifecycle: { type: 'ephemeral' }, warm_pool: { size: 1, agent } } }
  const taken = [
    await ask('/v1/sessions', { agent, environment_id }),
    await ask('/v1/sessions', { agent: { type: 'agent', id: agent, version: 1 }, environment_id }),
    await ask('/v1/sessions', { agent: { type: 'agent_with_overrides', id: agent }, environment_id }),
    await ask(`/v1/environments/${environment_id}`, { config: warm }),
    await ask(`/v1/sessions?agent_id=${agent}`),
  ]
  expect(taken.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
  expect(taken[4]?.body).toContain(agent)
})

test('their requests are not repeated to others, by key or by mark', async () => {
  const body = { name: 'the very same', model: 'm' }
  const found: Record<string, boolean> = {}
  const tried: Record<string, string>[] = [
    { 'idempotency-key': 'theirs' },
    { 'x-stainless-retry-count': '0' },
    { 'x-stainless-retry-count': '1' },
  ]
  for (const headers of tried) {
    const first = await server.fetch('/v1/agents', { method: 'POST', body: JSON.stringify(body), headers })
    const { id } = made.parse(await first.json())
    found[JSON.stringify(headers)] = (await ask('/v1/agents', body, headers)).body.includes(id)
  }
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, false])))
})
