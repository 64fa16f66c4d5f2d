import { type Anthropic, NotFoundError } from '@anthropic-ai/sdk'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { clientOf, serveApp, type TestServer } from '../../test/serve-app.ts'
import { VaultGateway } from '../../test/vault-gateway.ts'

let server: TestServer
let client: Anthropic
let agentId: string
let environmentId: string
beforeAll(async () => {
  server = await serveApp({}, { gateway: new VaultGateway().client })
  client = server.client
  const toolset = { type: 'agent_toolset_20260401' as const }
  const agent = await client.beta.agents.create({
    name: 'A',
    model: { id: 'm', effort: 'low' },
    system: 's',
    tools: [toolset],
  })
  agentId = agent.id
  environmentId = (await client.beta.environments.create({ name: 'e' })).id
})
afterAll(() => server[Symbol.asyncDispose]())

type Params = Anthropic.Beta.SessionCreateParams
const create = (params: Partial<Params> = {}) =>
  client.beta.sessions.create({ agent: agentId, environment_id: environmentId, ...params })

test('a new session is idle and holds its agent as it is now', async () => {
  const made = await create({ title: 't', metadata: { a: '1' }, initial_events: [], resources: [], vault_ids: [] })
  expect(made).toMatchObject({
    type: 'session',
    status: 'idle',
    title: 't',
    environment_id: environmentId,
    agent: {
      id: agentId,
      type: 'agent',
      version: 1,
      name: 'A',
      model: { id: 'm', effort: { type: 'low' } },
      system: 's',
    },
    metadata: { a: '1' },
    resources: [],
    vault_ids: [],
    budget: null,
    deployment_id: null,
    outcome_evaluations: [],
    usage: { input_tokens: 0, output_tokens: 0 },
    archived_at: null,
  })
  expect(made.id).toMatch(/^sesn_/)
  expect(made.agent).not.toHaveProperty('metadata')
  expect(await client.beta.sessions.retrieve(made.id)).toMatchObject({ ...made, stats: expect.anything() })
})

test('its vaults are the workspace’s, each once, and stay', async () => {
  const [first, second] = await Promise.all(
    ['1', '2'].map((display_name) => client.beta.vaults.create({ display_name })),
  )
  const ids = [second?.id ?? '', first?.id ?? '']
  const made = await create({ vault_ids: ids })
  expect(made.vault_ids).toEqual(ids)
  await client.beta.vaults.archive(ids[0] ?? '')
  expect((await client.beta.sessions.retrieve(made.id)).vault_ids).toEqual(ids)
  const other = clientOf(server.url, await server.otherWorkspaceKey())
  const strange = (await other.beta.vaults.create({ display_name: 'theirs' })).id
  const [, mine = ''] = ids
  for (const [vault_ids, refusal] of [
    [[mine, mine], /400 .*vault_ids\.1: \S+ is there twice/],
    [[mine, ids[0] ?? ''], /400 .*vault_ids\.1: \S+ is archived/],
    [[strange], /404 .*vault_ids\.0: vault \S+ does not exist/],
    [Array.from({ length: 51 }, (_, n) => `vlt_${n}`), /400 .*vault_ids: /],
  ] as const) {
    await expect(create({ vault_ids: [...vault_ids] })).rejects.toThrow(refusal)
  }
})

test('the agent is pinned: latest, or the version that is named', async () => {
  const agent = await client.beta.agents.create({ name: 'one', model: 'm' })
  await client.beta.agents.update(agent.id, { name: 'two' })
  const latest = await create({ agent: agent.id })
  const first = await create({ agent: { type: 'agent', id: agent.id, version: 1 } })
  expect([latest.agent.name, latest.agent.version]).toEqual(['two', 2])
  expect([first.agent.name, first.agent.version]).toEqual(['one', 1])
  await client.beta.agents.update(agent.id, { name: 'three' })
  expect((await client.beta.sessions.retrieve(latest.id)).agent.name).toBe('two')
})

test('a session shows the sandbox that it shares; one that cannot be shared is refused, naming the field', async () => {
  const config = { type: 'cloud' as const, berth: { lifecycle: { type: 'long_running' } } }
  const { id } = await client.beta.environments.create({ name: 'stays', config })
  const named = { berth: { sandbox: 'site-1' } }
  expect(await create({ environment_id: id, ...named })).toMatchObject(named)
  expect(await create()).toMatchObject({ berth: { sandbox: null } })
  await expect(create({ ...named, title: null })).rejects.toMatchObject({
    status: 400,
    message: expect.stringContaining('berth.sandbox: needs an environment whose lifecycle is long_running, not hybrid'),
  })
  const misnamed = { environment_id: id, berth: { sandbox: 'Site' } }
  await expect(create(misnamed)).rejects.toMatchObject({
    status: 400,
    message: expect.stringContaining('berth.sandbox'),
  })
})

test('overrides replace, clear or inherit', async () => {
  const overridden = await create({
    agent: { type: 'agent_with_overrides', id: agentId, model: 'm', system: null, tools: [] },
  })
  // The same model without its effort: an override starts from the model's defaults.
  expect(overridden.agent).toMatchObject({
    version: 1,
    name: 'A',
    model: { effort: { type: 'high' } },
    system: null,
    tools: [],
  })
  const inherited = await create({ agent: { type: 'agent_with_overrides', id: agentId } })
  expect(inherited.agent).toMatchObject({ model: { effort: { type: 'low' } }, system: 's' })
  const body = { agent: { type: 'agent_with_overrides', id: agentId, model: null }, environment_id: environmentId }
  const refused = await server.fetch('/v1/sessions', { method: 'POST', body: JSON.stringify(body) })
  expect(refused.status).toBe(400)
  expect(await refused.json()).toMatchObject({ error: { details: { error_code: 'agent_model_required' } } })
})

test('archived agents and environments take no new sessions', async () => {
  const agent = await client.beta.agents.create({ name: 'A', model: 'm' })
  await client.beta.agents.archive(agent.id)
  await expect(create({ agent: agent.id })).rejects.toThrow(/400 .*agent: .* is archived/)
  const environment = await client.beta.environments.create({ name: 'e' })
  await client.beta.environments.archive(environment.id)
  await expect(create({ environment_id: environment.id })).rejects.toMatchObject({
    status: 400,
    errorCode: 'environment_archived',
  })
})

test('title and metadata can be changed, tools while idle', async () => {
  const made = await create({ title: 't', metadata: { a: '1', b: '2' } })
  const updated = await client.beta.sessions.update(made.id, {
    title: null,
    metadata: { a: null, c: '3' },
    agent: { tools: [{ type: 'custom', name: 'ask', description: 'd', input_schema: { type: 'object' } }] },
  })
  expect(updated).toMatchObject({ title: null, metadata: { b: '2', c: '3' }, agent: { tools: [{ name: 'ask' }] } })
  expect(await client.beta.sessions.update(made.id, { metadata: { c: '3' } })).toMatchObject({
    updated_at: updated.updated_at,
  })
  expect((await client.beta.agents.retrieve(agentId)).version).toBe(1)
})

test('what an update cannot change is refused by name', async () => {
  const { id } = await create()
  await expect(client.beta.sessions.update(id, { vault_ids: [] })).rejects.toThrow(/400 .*vault_ids: /)
})

test('an archived session is terminated, readable and closed', async () => {
  const { id } = await create()
  const archived = await client.beta.sessions.archive(id)
  expect(archived).toMatchObject({ status: 'terminated', archived_at: expect.any(String) })
  await expect(client.beta.sessions.update(id, { title: 'x' })).rejects.toThrow(/400 .*terminated/)
  const listed = await client.beta.sessions.list({ limit: 100 })
  expect(listed.data.map((session) => session.id)).not.toContain(id)
  const all = await client.beta.sessions.list({ limit: 100, include_archived: true, statuses: ['terminated'] })
  expect(all.data.map((session) => session.id)).toContain(id)
})

test('a deleted session is gone', async () => {
  const { id } = await create()
  expect(await client.beta.sessions.delete(id)).toEqual({ id, type: 'session_deleted' })
  await expect(client.beta.sessions.retrieve(id)).rejects.toThrow(NotFoundError)
})

const unsupported: [string, Partial<Params>, RegExp][] = [
  ['resources', { resources: [{ type: 'file', file_id: 'file_1' }] }, /resources: /],
  [
    'outcomes',
    { initial_events: [{ type: 'user.define_outcome', description: 'd', rubric: { type: 'text', content: 'r' } }] },
    /user\.define_outcome/,
  ],
]
test.each(unsupported)('%s: a 501 that names the field, and no session', async (_, params, message) => {
  const title = crypto.randomUUID()
  const call = create({ ...params, title })
  await expect(call).rejects.toThrow(message)
  await expect(call).rejects.toMatchObject({ status: 501 })
  const listed = await client.beta.sessions.list({ limit: 100 })
  expect(listed.data.map((session) => session.title)).not.toContain(title)
})

test('sessions, agents and environments of another workspace do not exist', async () => {
  const { id } = await create()
  const other = clientOf(server.url, await server.otherWorkspaceKey())
  const ownAgent = await other.beta.agents.create({ name: 'B', model: 'm' })
  const ownEnvironment = await other.beta.environments.create({ name: 'f' })
  for (const call of [
    () => other.beta.sessions.retrieve(id),
    () => other.beta.sessions.update(id, { title: 'mine' }),
    () => other.beta.sessions.archive(id),
    () => other.beta.sessions.delete(id),
    () => other.beta.sessions.create({ agent: agentId, environment_id: ownEnvironment.id }),
    () => other.beta.sessions.create({ agent: ownAgent.id, environment_id: environmentId }),
  ]) {
    await expect(call()).rejects.toThrow(NotFoundError)
  }
  expect((await other.beta.sessions.list({ include_archived: true })).data).toEqual([])
  expect(await client.beta.sessions.retrieve(id)).toMatchObject({ title: null, status: 'idle' })
})

test('lists can be turned back, in both orders', async () => {
  await using own = await serveApp()
  const { beta } = own.client
  const agent = await beta.agents.create({ name: 'A', model: 'm' })
  const environment = await beta.environments.create({ name: 'e' })
  const made: string[] = []
  const add = async () =>
    made.push((await beta.sessions.create({ agent: agent.id, environment_id: environment.id })).id)
  for (let i = 0; i < 5; i++) await add()
  const ids = (page: { data: { id: string }[] }) => page.data.map((session) => session.id)

  const first = await beta.sessions.list({ limit: 2 })
  expect([ids(first), first.prev_page]).toEqual([[made[4], made[3]], null])
  await add()
  const second = await first.getNextPage()
  expect(ids(second)).toEqual([made[2], made[1]])
  const third = await second.getNextPage()
  expect([ids(third), third.next_page]).toEqual([[made[0]], null])
  const back = await beta.sessions.list({ limit: 2, page: third.prev_page })
  expect(ids(back)).toEqual([made[2], made[1]])
  const again = await back.getNextPage()
  expect(ids(again)).toEqual([made[0]])
  const front = await beta.sessions.list({ limit: 2, page: back.prev_page })
  expect(ids(front)).toEqual([made[4], made[3]])
  const newest = await beta.sessions.list({ limit: 2, page: front.prev_page })
  expect([ids(newest), newest.prev_page]).toEqual([[made[5]], null])

  const upwards: string[] = []
  for await (const session of beta.sessions.list({ limit: 4, order: 'asc' })) upwards.push(session.id)
  expect(upwards).toEqual(made)
})

test('filters', async () => {
  const agent = await client.beta.agents.create({ name: 'F', model: 'm' })
  const one = await create({ agent: agent.id })
  await client.beta.agents.update(agent.id, { name: 'G' })
  const two = await create({ agent: agent.id })
  const ids = async (params: Anthropic.Beta.SessionListParams) =>
    (await client.beta.sessions.list(params)).data.map((session) => session.id)
  expect(await ids({ agent_id: agent.id })).toEqual([two.id, one.id])
  expect(await ids({ agent_id: agent.id, agent_version: 1 })).toEqual([one.id])
  expect(await ids({ agent_id: agent.id, statuses: ['idle', 'running'] })).toEqual([two.id, one.id])
  expect(await ids({ agent_id: agent.id, statuses: ['running', 'rescheduling'] })).toEqual([])
  expect(await ids({ agent_id: agent.id, statuses: ['idle'] })).toEqual([two.id, one.id])
  expect(await ids({ agent_id: agent.id, 'created_at[gt]': two.created_at })).toEqual([])
  expect(await ids({ agent_id: agent.id, 'created_at[gte]': two.created_at })).toContain(two.id)
  expect(await ids({ agent_id: agent.id, 'created_at[lt]': one.created_at })).toEqual([])
  expect(await ids({ deployment_id: 'depl_1' })).toEqual([])
  const plain = await server.fetch(`/v1/sessions?agent_id=${agent.id}&statuses=idle&statuses=running&beta=true`)
  expect(await plain.json()).toMatchObject({ data: [{ id: two.id }, { id: one.id }], next_page: null, prev_page: null })
  const unknown = await server.fetch('/v1/sessions?statuses[]=asleep')
  expect(unknown.status).toBe(400)
})
