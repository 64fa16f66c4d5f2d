import Anthropic, { ConflictError, NotFoundError } from '@anthropic-ai/sdk'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { clientOf, serveApp, type TestServer } from '../../test/serve-app.ts'

let server: TestServer
let client: Anthropic
beforeAll(async () => {
  server = await serveApp()
  client = server.client
})
afterAll(() => server[Symbol.asyncDispose]())

const toolset = { type: 'agent_toolset_20260401' as const }

test('a new agent has every default filled in', async () => {
  const made = await client.beta.agents.create({ name: 'Reporter', model: 'claude-opus-5-5', tools: [toolset] })
  expect(made.id).toMatch(/^agent_/)
  expect(made).toMatchObject({
    type: 'agent',
    version: 1,
    name: 'Reporter',
    description: null,
    system: null,
    model: { id: 'claude-opus-5-5', effort: { type: 'high' }, speed: 'standard' },
    tools: [
      {
        type: 'agent_toolset_20260401',
        default_config: { enabled: true, permission_policy: { type: 'always_allow' } },
        configs: [],
      },
    ],
    mcp_servers: [],
    skills: [],
    multiagent: null,
    execution_identity: { type: 'service_account' },
    metadata: {},
    archived_at: null,
  })
  expect(await client.beta.agents.retrieve(made.id)).toEqual(made)
})

test('an effective update makes a version, one that changes nothing does not', async () => {
  const first = await client.beta.agents.create({ name: 'A', model: 'm', system: 's', metadata: { a: '1', b: '2' } })
  const second = await client.beta.agents.update(first.id, {
    version: 1,
    system: null,
    metadata: { a: null, c: '3' },
    model: { id: 'm', effort: 'low' },
  })
  expect(second).toMatchObject({
    version: 2,
    system: null,
    metadata: { b: '2', c: '3' },
    model: { effort: { type: 'low' } },
  })
  const same = await client.beta.agents.update(first.id, { version: 2, name: 'A', metadata: { zz: null }, model: 'm' })
  expect(same).toEqual(second)
  expect(await client.beta.agents.retrieve(first.id, { version: 1 })).toMatchObject({ version: 1, system: 's' })
  const versions = await client.beta.agents.versions.list(first.id)
  expect(versions.data.map((agent) => agent.version)).toEqual([2, 1])
  expect(versions.next_page).toBeNull()
})

test('another model takes its own default effort', async () => {
  const first = await client.beta.agents.create({ name: 'A', model: { id: 'm', effort: { type: 'max' } } })
  const second = await client.beta.agents.update(first.id, { model: 'n' })
  expect(second.model).toMatchObject({ id: 'n', effort: { type: 'high' } })
})

test('a stale version is a conflict that is not retried, even when nothing would change', async () => {
  const { id } = await client.beta.agents.create({ name: 'A', model: 'm' })
  await client.beta.agents.update(id, { name: 'B' })
  let requests = 0
  const retrying = new Anthropic({
    baseURL: server.url,
    apiKey: server.key,
    maxRetries: 2,
    fetch: (url, init) => {
      requests++
      return fetch(url, init)
    },
  })
  await expect(retrying.beta.agents.update(id, { name: 'B', version: 1 })).rejects.toThrow(ConflictError)
  expect(requests).toBe(1)
})

test('what was archived is read only', async () => {
  const { id } = await client.beta.agents.create({ name: 'A', model: 'm' })
  const archived = await client.beta.agents.archive(id)
  expect(archived.archived_at).not.toBeNull()
  expect(await client.beta.agents.archive(id)).toEqual(archived)
  await expect(client.beta.agents.update(id, { name: 'B' })).rejects.toThrow(/archived/)
  const listed = await client.beta.agents.list({ limit: 100 })
  expect(listed.data.map((agent) => agent.id)).not.toContain(id)
  const all = await client.beta.agents.list({ limit: 100, include_archived: true })
  expect(all.data.map((agent) => agent.id)).toContain(id)
})

test('paging shows every row once while others are added', async () => {
  await using own = await serveApp()
  const made: string[] = []
  for (let i = 0; i < 7; i++) made.push((await own.client.beta.agents.create({ name: `a${i}`, model: 'm' })).id)
  const seen: string[] = []
  for await (const agent of own.client.beta.agents.list({ limit: 2 })) {
    seen.push(agent.id)
    await own.client.beta.agents.create({ name: 'late', model: 'm' })
  }
  expect(seen).toEqual(made.toReversed())
})

test('time bounds hold, whatever their offset', async () => {
  const { id, created_at } = await client.beta.agents.create({ name: 'A', model: 'm' })
  const shifted = new Date(Date.parse(created_at) + 3_600_000).toISOString().replace('Z', '+01:00')
  const from = await client.beta.agents.list({ limit: 100, 'created_at[gte]': shifted })
  expect(from.data.map((agent) => agent.id)).toContain(id)
  const before = new Date(Date.parse(created_at) - 1).toISOString()
  const until = await client.beta.agents.list({ limit: 100, 'created_at[lte]': before })
  expect(until.data.map((agent) => agent.id)).not.toContain(id)
})

test('unknown agents, versions and those of another workspace are not found', async () => {
  const { id } = await client.beta.agents.create({ name: 'A', model: 'm' })
  const other = clientOf(server.url, await server.otherWorkspaceKey())
  for (const call of [
    () => client.beta.agents.retrieve('agent_unknown'),
    () => client.beta.agents.retrieve(id, { version: 2 }),
    () => client.beta.agents.versions.list('agent_unknown'),
    () => other.beta.agents.retrieve(id),
    () => other.beta.agents.update(id, { name: 'mine' }),
    () => other.beta.agents.archive(id),
    () => other.beta.agents.versions.list(id),
  ]) {
    await expect(call()).rejects.toThrow(NotFoundError)
  }
  expect((await other.beta.agents.list()).data).toEqual([])
})

const auto = { permission_policy: { type: 'auto' as const } }
const unsupported: [string, Partial<Anthropic.Beta.AgentCreateParams>, RegExp][] = [
  ['skills', { skills: [{ type: 'custom', skill_id: 's' }] }, /skills: /],
  ['multiagent', { multiagent: { type: 'coordinator', agents: ['agent_1'] } }, /multiagent: /],
  ['other identities', { execution_identity: { type: 'aws_role', role_arn: 'arn' } }, /execution_identity: /],
  ['fast', { model: { id: 'm', speed: 'fast' } }, /model\.speed: /],
  ['inference_geo', { model: { id: 'm', inference_geo: 'us' } }, /model\.inference_geo: /],
  [
    'the policy auto',
    { tools: [{ ...toolset, default_config: auto }] },
    /tools\.0\.default_config\.permission_policy: /,
  ],
  [
    'auto for a tool',
    { tools: [{ ...toolset, configs: [{ name: 'bash', ...auto }] }] },
    /configs\.0\.permission_policy: /,
  ],
  ['web tools', { tools: [{ ...toolset, configs: [{ name: 'web_fetch', enabled: true }] }] }, /configs\.0: web_fetch/],
]
test.each(unsupported)('%s: a 501 that names the field', async (_, params, message) => {
  const call = client.beta.agents.create({ name: 'A', model: 'm', ...params })
  await expect(call).rejects.toThrow(message)
  await expect(call).rejects.toMatchObject({ status: 501, type: 'api_error' })
})

const invalid: [string, object, RegExp][] = [
  ['an unknown field', { nope: 1 }, /nope: unknown field/],
  ['a limit that nobody knows', { berth: { limits: { max_words: 1 } } }, /berth\.limits\.max_words: unknown field/],
  ['a limit of nothing', { berth: { limits: { max_turns: 0 } } }, /berth\.limits\.max_turns: /],
  ['a nested unknown field', { model: { id: 'm', nope: 1 } }, /model\.nope: unknown field/],
  ['a missing field', { name: undefined }, /name: is required/],
  ['a wrong type', { name: 7 }, /name: .*expected string/],
  ['an empty name', { name: '' }, /name: /],
  ['a long name', { name: 'x'.repeat(257) }, /name: /],
  ['a long system prompt', { system: 'x'.repeat(100_001) }, /system: /],
  ['a long description', { description: 'x'.repeat(2049) }, /description: /],
  ['an unknown effort', { model: { id: 'm', effort: 'extreme' } }, /model\.effort: /],
  [
    'an unknown tool',
    { tools: [{ ...toolset, configs: [{ name: 'teleport' }] }] },
    /tools\.0\.configs\.0\.name: .*bash/,
  ],
  ['an unknown kind of tool', { tools: [{ type: 'hammer' }] }, /tools\.0\.type: .*agent_toolset_20260401/],
  ['a bad custom tool name', { tools: [custom('a b')] }, /tools\.0\.name: /],
  ['a name twice', { tools: [custom('a'), custom('a')] }, /tools\.1\.name: a is the name of another tool/],
  ['a name of the toolset', { tools: [toolset, custom('bash')] }, /tools\.1\.name: bash/],
  ['two toolsets', { tools: [toolset, toolset] }, /tools: /],
  [
    'too much metadata',
    { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v'])) },
    /metadata: /,
  ],
  ['a long metadata key', { metadata: { ['k'.repeat(65)]: 'v' } }, /metadata\.k+: /],
  ['metadata that is no text', { metadata: { k: 1 } }, /metadata\.k: /],
  ['NUL', { name: 'a\u0000b' }, /name: must be well-formed/],
  ['half a character', { name: 'a\ud800b' }, /name: must be well-formed/],
]
test.each(invalid)('%s: a 400 that names the field', async (_, params, message) => {
  const body = JSON.stringify({ name: 'A', model: 'm', ...params })
  const answer = await server.fetch('/v1/agents', { method: 'POST', body })
  expect(answer.status).toBe(400)
  expect(await answer.json()).toMatchObject({
    type: 'error',
    error: { type: 'invalid_request_error', message: expect.stringMatching(message) },
    request_id: answer.headers.get('request-id'),
  })
})

function custom(name: string) {
  return { type: 'custom' as const, name, description: 'd', input_schema: { type: 'object' as const } }
}

test('custom tools and tool choices come back as they were resolved', async () => {
  const made = await client.beta.agents.create({
    name: 'A',
    model: 'm',
    tools: [
      {
        ...toolset,
        default_config: { enabled: false, permission_policy: { type: 'always_ask' } },
        configs: [{ name: 'bash', enabled: true }, { name: 'web_fetch' }],
      },
      { ...custom('ask_user'), input_schema: { type: 'object', properties: { q: {} }, additionalProperties: false } },
    ],
  })
  expect(made.tools).toEqual([
    {
      type: 'agent_toolset_20260401',
      default_config: { enabled: false, permission_policy: { type: 'always_ask' } },
      configs: [
        { name: 'bash', type: 'bash', enabled: true, permission_policy: { type: 'always_ask' } },
        {
          name: 'web_fetch',
          type: 'web_fetch',
          enabled: false,
          permission_policy: { type: 'always_ask' },
          url_sources: null,
        },
      ],
    },
    { ...custom('ask_user'), input_schema: { type: 'object', properties: { q: {} }, additionalProperties: false } },
  ])
})
