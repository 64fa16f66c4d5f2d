import type { Anthropic } from '@anthropic-ai/sdk'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { serveApp, type TestServer } from '../../test/serve-app.ts'

let server: TestServer
let client: Anthropic
beforeAll(async () => {
  server = await serveApp()
  client = server.client
})
afterAll(() => server[Symbol.asyncDispose]())

const docs = { type: 'url' as const, name: 'My docs', url: 'https://docs.example/mcp' }
const docsTools = { type: 'mcp_toolset' as const, mcp_server_name: 'My docs' }
const files = { type: 'stdio', name: 'files', command: 'files' }
const filesTools = { type: 'mcp_toolset' as const, mcp_server_name: 'files' }
const base = { name: 'A', model: 'm' }
const ask = { permission_policy: { type: 'always_ask' } }

test('servers and toolsets come back as they were given, with every default filled in', async () => {
  const choice = { name: 'search', permission_policy: { type: 'always_allow' as const } }
  const configs = [choice, { name: 'drop', enabled: false }]
  const made = await client.beta.agents.create({ ...base, mcp_servers: [docs], tools: [{ ...docsTools, configs }] })
  expect(made.mcp_servers).toEqual([docs])
  expect(made.tools).toEqual([
    {
      ...docsTools,
      default_config: { enabled: true, ...ask },
      configs: [
        { ...choice, enabled: true },
        { name: 'drop', enabled: false, ...ask },
      ],
    },
  ])
  expect(await client.beta.agents.retrieve(made.id)).toEqual(made)
  const same = await client.beta.agents.update(made.id, { version: 1, mcp_servers: [docs] })
  expect(same.version).toBe(1)
  const none = await client.beta.agents.update(made.id, { version: 1, mcp_servers: null, tools: null })
  expect(none).toMatchObject({ version: 2, mcp_servers: [], tools: [] })
})

const post = (path: string, body: object) => server.fetch(path, { method: 'POST', body: JSON.stringify(body) })

test('a server that runs in the sandbox stands under berth, and is named by a toolset like the others', async () => {
  const answer = await post('/v1/agents', { ...base, tools: [filesTools], berth: { mcp_servers: [files] } })
  const made: unknown = await answer.json()
  expect(made).toMatchObject({ mcp_servers: [], berth: { mcp_servers: [{ ...files, args: [], env: {} }] } })
})

const many = Array.from({ length: 21 }, (_, index) => ({ ...docs, name: `s${index}` }))
const toolsets = many.map(({ name }) => ({ type: 'mcp_toolset', mcp_server_name: name }))
const berth = (...mcp_servers: object[]) => ({ berth: { mcp_servers } })

test.each<[string, object, RegExp]>([
  [
    'a server that no toolset names',
    { mcp_servers: [docs] },
    /mcp_servers\.0: no mcp_toolset names the server My docs/,
  ],
  ['a toolset without a server', { tools: [docsTools] }, /tools\.0\.mcp_server_name: there is no MCP server My docs/],
  [
    'two toolsets for one server',
    { mcp_servers: [docs], tools: [docsTools, docsTools] },
    /tools\.0\.mcp_server_name: /,
  ],
  ['a name twice', { mcp_servers: [docs, docs], tools: [docsTools] }, /mcp_servers\.1\.name: My docs is the name of/],
  [
    'a name of both kinds',
    { ...berth({ ...files, name: 'My docs' }), mcp_servers: [docs], tools: [docsTools] },
    /berth\.mcp_servers\.0\.name: /,
  ],
  [
    'plain http',
    { mcp_servers: [{ ...docs, url: 'http://docs.example' }], tools: [docsTools] },
    /mcp_servers\.0\.url: must begin with https/,
  ],
  [
    'an address',
    { mcp_servers: [{ ...docs, url: 'https://127.0.0.1/' }], tools: [docsTools] },
    /mcp_servers\.0\.url: /,
  ],
  [
    'a user in the URL',
    { mcp_servers: [{ ...docs, url: 'https://u:p@docs.example/' }], tools: [docsTools] },
    /url: must not name a user/,
  ],
  ['too many', { mcp_servers: many, tools: toolsets }, /mcp_servers: /],
  [
    'too many of both kinds',
    { mcp_servers: many.slice(1), ...berth(files), tools: [...toolsets.slice(1), filesTools] },
    /berth\.mcp_servers: an agent has at most 20/,
  ],
  [
    'a tool twice',
    { mcp_servers: [docs], tools: [{ ...docsTools, configs: [{ name: 'a' }, { name: 'a' }] }] },
    /tools\.0\.configs: names a twice/,
  ],
  [
    'an unknown field of a server',
    { mcp_servers: [{ ...docs, headers: {} }], tools: [docsTools] },
    /mcp_servers\.0\.headers: unknown field/,
  ],
  [
    'a program of the web',
    { ...berth({ ...files, type: 'url' }), tools: [filesTools] },
    /berth\.mcp_servers\.0\.type: /,
  ],
  [
    'a variable with an odd name',
    { ...berth({ ...files, env: { 'A=B': 'x' } }), tools: [filesTools] },
    /berth\.mcp_servers\.0\.env/,
  ],
  [
    'too many arguments',
    { ...berth({ ...files, args: Array(65).fill('x') }), tools: [filesTools] },
    /berth\.mcp_servers\.0\.args: /,
  ],
])('%s: a 400 that names the field', async (_, params, message) => {
  const answer = await post('/v1/agents', { ...base, ...params })
  expect(await answer.json()).toMatchObject({ error: { message: expect.stringMatching(message) } })
  expect(answer.status).toBe(400)
})

test('the policy auto is refused for them, too', async () => {
  const auto = { permission_policy: { type: 'auto' as const } }
  const tools = [{ ...docsTools, default_config: auto }]
  await expect(client.beta.agents.create({ ...base, mcp_servers: [docs], tools })).rejects.toMatchObject({
    status: 501,
  })
})

test('a session overrides and changes them as a whole, and never so that one part misses the other', async () => {
  const { id: agent } = await client.beta.agents.create({ ...base, mcp_servers: [docs], tools: [docsTools] })
  const { id: environment_id } = await client.beta.environments.create({ name: 'mcp' })
  const other = { ...docs, name: 'other' }
  const otherTools = { ...docsTools, mcp_server_name: 'other' }
  const create = (overrides: object) =>
    client.beta.sessions.create({ environment_id, agent: { type: 'agent_with_overrides', id: agent, ...overrides } })
  await expect(create({ mcp_servers: null })).rejects.toThrow(/400 .*agent\.tools\.0\.mcp_server_name: /)
  await expect(create({ tools: [] })).rejects.toThrow(/400 .*agent\.mcp_servers\.0: /)
  expect((await create({ mcp_servers: [other], tools: [otherTools] })).agent.mcp_servers).toEqual([other])
  const { id } = await create({})
  const update = (changes: object) => client.beta.sessions.update(id, { agent: changes })
  await expect(update({ mcp_servers: [other] })).rejects.toThrow(/400 .*agent\.mcp_servers\.0: /)
  await expect(update({ mcp_servers: [{ ...other, url: 'ftp://x' }], tools: [otherTools] })).rejects.toThrow(
    /400 .*agent\.mcp_servers\.0\.url: /,
  )
  const changed = await update({ mcp_servers: [], tools: [filesTools], berth: { mcp_servers: [files] } })
  expect(changed.agent).toMatchObject({ mcp_servers: [], tools: [filesTools], berth: { mcp_servers: [files] } })
  const cleared = await update({ tools: [], berth: null })
  expect(cleared.agent).toMatchObject({ tools: [], berth: { mcp_servers: [] } })
})
