/** Whatever comes in, the answer is one that the API describes, and never a fault of the server. */
import { errorEnvelope } from '@berth/protocol/api/error'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { serveApp, type TestServer } from '../../test/serve-app.ts'
import { VaultGateway } from '../../test/vault-gateway.ts'

let server: TestServer
let ids: Record<'agent' | 'environment' | 'session' | 'busy' | 'vault' | 'credential', string>
beforeAll(async () => {
  server = await serveApp({}, { gateway: new VaultGateway().client })
  const agent = await server.client.beta.agents.create({ name: 'A', model: 'm' })
  const environment = await server.client.beta.environments.create({ name: 'e' })
  const session = await server.client.beta.sessions.create({ agent: agent.id, environment_id: environment.id })
  const busy = await server.client.beta.sessions.create({ agent: agent.id, environment_id: environment.id })
  const vault = await server.client.beta.vaults.create({ display_name: 'v' })
  const credential = await server.client.beta.vaults.credentials.create(vault.id, { auth: variable })
  ids = {
    agent: agent.id,
    environment: environment.id,
    session: session.id,
    busy: busy.id,
    vault: vault.id,
    credential: credential.id,
  }
})
afterAll(() => server[Symbol.asyncDispose]())

const described = z.object({
  paths: z.record(z.string(), z.object({ post: z.object({ requestBody: z.unknown().optional() }).optional() })),
})

const variable = {
  type: 'environment_variable' as const,
  secret_name: 'TOKEN',
  secret_value: 'secret',
  networking: { type: 'limited' as const, allowed_hosts: ['api.example.com'] },
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

const toolset: Json = {
  type: 'agent_toolset_20260401',
  default_config: { enabled: true, permission_policy: { type: 'always_ask' } },
  configs: [
    { name: 'bash', enabled: true, permission_policy: { type: 'always_allow' } },
    { name: 'web_fetch', enabled: false },
  ],
}
const custom: Json = {
  type: 'custom',
  name: 'ask',
  description: 'd',
  input_schema: { type: 'object', properties: { q: { type: 'string' } }, required: ['q'] },
}
const agentBody: Json = {
  name: 'A',
  model: { id: 'm', effort: 'high', speed: 'standard' },
  description: 'd',
  system: 's',
  tools: [toolset, custom],
  mcp_servers: [],
  skills: [],
  multiagent: null,
  execution_identity: { type: 'service_account' },
  metadata: { a: '1' },
}
const environmentBody: Json = {
  name: 'e',
  description: null,
  config: {
    type: 'cloud',
    networking: { type: 'limited', allowed_hosts: [], allow_mcp_servers: false },
    packages: { apt: [] },
    berth: { driver: 'oci', image: null, resources: { cpus: 1, memory_mib: 512 }, model_retries: 2 },
  },
  metadata: { a: '1' },
  scope: 'organization',
}

/** The same value with one part of it, anywhere, replaced, taken out, or joined by another. */
function mutate(value: Json, path: number[], odd: Json): Json {
  const [step = 0, ...rest] = path
  if (path.length === 0 || value === null || typeof value !== 'object') return odd
  if (Array.isArray(value)) {
    const at = value.length === 0 ? 0 : step % (value.length + 1)
    return at === value.length
      ? [...value, odd]
      : value.map((part, index) => (index === at ? mutate(part, rest, odd) : part))
  }
  const keys = Object.keys(value)
  const at = step % (keys.length + 2)
  if (at === keys.length) return { ...value, [JSON.stringify(odd)]: odd }
  const key = keys[at % keys.length] ?? 'x'
  if (at > keys.length) return Object.fromEntries(Object.entries(value).filter(([name]) => name !== keys[0]))
  return { ...value, [key]: mutate(value[key] ?? null, rest, odd) }
}

const odd: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(
    '',
    '__proto__',
    'constructor',
    '\u0000',
    '\ud800',
    '../../etc/passwd',
    '%00',
    "' OR 1=1 --",
    '🙂'.repeat(300),
  ),
  fc.constantFrom<Json>(
    -1,
    0,
    1.5,
    1e308,
    2 ** 53,
    [],
    {},
    [[]],
    null,
    true,
    [null],
    { type: null },
    { type: 'cloud' },
    { type: 'custom' },
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.integer(),
)
const path = fc.array(fc.nat({ max: 40 }), { maxLength: 6 })

function expectSound(status: number, body: string, what: string): void {
  expect([200, 400, 404, 405, 409, 413, 501], `${what} → ${status} ${body.slice(0, 500)}`).toContain(status)
  if (status !== 200) errorEnvelope.parse(JSON.parse(body))
  // Nothing here makes sandboxes, and messages ask for them.
  expect(server.logged.filter((line) => !line.includes('"no sandboxes here"'))).toEqual([])
}

async function send(method: string, path: string, body?: Json): Promise<void> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const answer = await server.fetch(path, { method, ...(text === undefined ? {} : { body: text }) })
  expectSound(answer.status, await answer.text(), `${method} ${path} ${text ?? ''}`)
}

/** The routes as they are written; `:agent` stands for the id of one that exists. */
const bodies: [string, Json][] = [
  ['/v1/agents', agentBody],
  ['/v1/agents/:agent', { ...agentBody, version: 1 }],
  ['/v1/environments', environmentBody],
  ['/v1/environments/:environment', environmentBody],
  ['/v1/sessions', {}],
  ['/v1/sessions/:session', { title: 't', metadata: { a: null }, agent: { tools: [toolset, custom] } }],
  [
    '/v1/sessions/:busy/events',
    {
      events: [
        { type: 'user.message', content: [{ type: 'text', text: 't' }] },
        { type: 'user.interrupt' },
        { type: 'user.tool_confirmation', tool_use_id: 'sevt_1', result: 'deny', deny_message: 'm' },
        { type: 'user.custom_tool_result', custom_tool_use_id: 'sevt_1', content: [{ type: 'text', text: 't' }] },
      ],
    },
  ],
  [
    '/berth/v1/sessions/:session/fork',
    { checkpoint_id: 'chkp_1', title: 't', metadata: { a: '1' }, berth: { sandbox: 's' } },
  ],
  ['/berth/v1/sessions/:session/ports/8000/url', { expires_in: 60, method: 'any' }],
  ['/v1/vaults', { display_name: 'v', metadata: { a: '1' } }],
  ['/v1/vaults/:vault', { display_name: 'v', metadata: { a: null } }],
  ['/v1/vaults/:vault/credentials', { auth: variable, display_name: 'c', metadata: { a: '1' } }],
  [
    '/v1/vaults/:vault/credentials/:credential',
    {
      auth: { type: 'environment_variable', secret_value: 's', injection_location: { header: true, body: true } },
      display_name: 'c',
      metadata: { a: null },
    },
  ],
  ['/berth/v1/keys', { name: 'k', scope: 'read', expires_at: '2100-01-01T00:00:00Z' }],
]

const withIds = (path: string) =>
  path.replaceAll(/:(agent|environment|session|busy|vault|credential)\b/g, (_, name: keyof typeof ids) => ids[name])

test('every route that takes JSON is among them', async () => {
  const { paths } = described.parse(await (await server.fetch('/openapi.json')).json())
  const taking = Object.entries(paths).flatMap(([path, { post }]) => (post?.requestBody === undefined ? [] : [path]))
  const tried = bodies.map(([path]) => path.replace('8000', ':port').replaceAll(/:\w+/g, '{}'))
  expect(tried.toSorted()).toEqual(taking.map((path) => path.replaceAll(/\{\w+\}/g, '{}')).toSorted())
})

test.each(bodies)('POST %s', async (route, valid) => {
  const base: Json =
    route === '/v1/sessions'
      ? {
          agent: { type: 'agent_with_overrides', id: ids.agent, version: 1, model: 'm', system: null, tools: [custom] },
          environment_id: ids.environment,
          title: 't',
          metadata: {},
          initial_events: [],
          resources: [],
          vault_ids: [],
          budget: null,
        }
      : valid
  await fc.assert(
    fc.asyncProperty(path, odd, (steps, value) => send('POST', withIds(route), mutate(base, steps, value))),
    { numRuns: 60 },
  )
})

test('any query and any id', async () => {
  const lists = [
    '/v1/agents',
    '/v1/environments',
    '/v1/sessions',
    '/berth/v1/keys',
    '/v1/vaults',
    '/v1/vaults/:vault/credentials',
    '/v1/agents/:agent/versions',
    '/v1/sessions/:session/events',
    '/berth/v1/sessions/:session/sdk_messages',
    '/berth/v1/sessions/:session/checkpoints',
    '/berth/v1/sessions/:session/files',
    '/berth/v1/sessions/:session/files/content',
  ]
  const names = [
    'limit',
    'page',
    'order',
    'created_at[gte]',
    'created_at[lt]',
    'statuses[]',
    'agent_id',
    'agent_version',
    'version',
    'types[]',
    'path',
  ]
  const query = fc.dictionary(fc.constantFrom(...names), fc.string({ unit: 'binary', maxLength: 20 }), { maxKeys: 3 })
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...lists), query, (list, given) =>
      send('GET', `${withIds(list)}?${new URLSearchParams(given).toString()}`),
    ),
    { numRuns: 100 },
  )
  const singles = ['/v1/agents/', '/v1/environments/', '/v1/sessions/']
  const id = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 30 })
    .filter((text) => text.isWellFormed() && !/^\.\.?$/.test(text))
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...singles),
      fc.constantFrom('GET', 'DELETE', 'POST'),
      id,
      (single, method, text) => send(method, single + encodeURIComponent(text), ...(method === 'POST' ? [{}] : [])),
    ),
    { numRuns: 100 },
  )
})
