import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { message } from '../../harness/message.ts'
import { otherWorkspaceKey } from '../../harness/other-workspace.ts'
import { startTestBerth, type TestBerth } from '../../harness/test-berth.ts'

let berth: TestBerth
let agent: string
let environment_id: string
beforeAll(async () => {
  berth = await startTestBerth()
  agent = (await berth.createAgent()).id
  environment_id = (await berth.createEnvironment()).id
})
afterAll(() => berth[Symbol.asyncDispose]())

async function all<Item>(pages: AsyncIterable<Item>): Promise<Item[]> {
  const items: Item[] = []
  for await (const item of pages) items.push(item)
  return items
}

/** Everything that there is to see in the workspace. */
async function snapshot() {
  const { agents, environments, sessions } = berth.client.beta
  return [
    await all(agents.list({ include_archived: true })),
    await all(environments.list({ include_archived: true })),
    (await all(sessions.list({ include_archived: true }))).map(({ id, title, status }) => ({ id, title, status })),
  ]
}

async function expectRefused(call: () => Promise<unknown>, error: { status: number; type: string; message: RegExp }) {
  const before = await snapshot()
  const refusal = { ...error, message: expect.stringMatching(error.message) }
  await expect(call()).rejects.toMatchObject(refusal)
  expect(await snapshot()).toEqual(before)
}

const invalid = { status: 400, type: 'invalid_request_error' }
const unsupported = { status: 501, type: 'api_error' }

describe('a session that cannot be made', () => {
  test.each<[string, object, RegExp]>([
    ['an unknown field', { urgent: true }, /urgent: unknown field/],
    ['an unknown field of the agent', { agent: { type: 'agent', id: 'agent_1', mood: 'good' } }, /agent.*mood/],
    ['no agent', { agent: undefined }, /agent: /],
    ['no environment', { environment_id: undefined }, /environment_id: is required/],
    ['a title that is no text', { title: 7 }, /title: /],
    [
      'too many initial events',
      { initial_events: Array.from({ length: 51 }, () => message('Hi')) },
      /initial_events: /,
    ],
    [
      'a budget in another currency',
      { budget: { type: 'limit', max_list_cost: { amount: '100', currency: 'EUR' } } },
      /budget\.max_list_cost\.currency: must be USD/,
    ],
    [
      'an initial event that is no input',
      { initial_events: [{ type: 'user.interrupt' }] },
      /initial_events\.0\.type: /,
    ],
    [
      'an initial event with an unknown field',
      { initial_events: [message('Hi'), { ...message('Hi'), nope: 1 }] },
      /initial_events\.1\.nope: unknown field/,
    ],
  ])('with %s', async (_, params, refusal) => {
    const body = { agent, environment_id, title: 'never', ...params }
    await expectRefused(() => berth.client.post('/v1/sessions', { body }), { ...invalid, message: refusal })
  })

  test.each<[string, object, RegExp]>([
    ['resources', { resources: [{ type: 'file', file_id: 'file_1' }] }, /resources: /],
    [
      'an outcome to begin with',
      {
        initial_events: [
          message('Hi'),
          { type: 'user.define_outcome', description: 'd', rubric: { type: 'text', content: 'r' } },
        ],
      },
      /user\.define_outcome/,
    ],
  ])('with %s: of the profile, and not supported yet', async (_, params, refusal) => {
    const body = { agent, environment_id, title: 'never', ...params }
    await expectRefused(() => berth.client.post('/v1/sessions', { body }), { ...unsupported, message: refusal })
  })

  test.each<[string, object, RegExp]>([
    ['skills', { skills: [{ type: 'anthropic', skill_id: 'xlsx' }] }, /skills: /],
    ['other agents', { multiagent: { type: 'coordinator', agents: [{ type: 'self' }] } }, /multiagent: /],
  ])('because its agent would have %s', async (_, params, refusal) => {
    const body = { name: 'Never', model: 'claude-sonnet-5-5', ...params }
    await expectRefused(() => berth.client.post('/v1/agents', { body }), { ...unsupported, message: refusal })
  })

  test('of an archived or unknown agent or environment', async () => {
    const { agents, environments, sessions } = berth.client.beta
    const old = await berth.createAgent()
    const oldPlace = await berth.createEnvironment()
    await agents.archive(old.id)
    await environments.archive(oldPlace.id)
    await expectRefused(() => sessions.create({ agent: old.id, environment_id }), {
      ...invalid,
      message: /agent: .*archived/,
    })
    await expectRefused(() => sessions.create({ agent, environment_id: oldPlace.id }), {
      ...invalid,
      message: /environment_id: .*archived/,
    })
    const missing = { status: 404, type: 'not_found_error' }
    await expectRefused(() => sessions.create({ agent: 'agent_unknown', environment_id }), {
      ...missing,
      message: /agent_unknown/,
    })
    await expectRefused(() => sessions.create({ agent, environment_id: 'env_unknown' }), {
      ...missing,
      message: /env_unknown/,
    })
  })
})

test('a cursor is taken by the list alone that gave it', async () => {
  const { sessions } = berth.client.beta
  const [first, second] = [await berth.createSession({ title: 'a' }), await berth.createSession({ title: 'b' })]
  for (const { id } of [first, second]) {
    await sessions.update(id, { title: 'one' })
    await sessions.update(id, { title: 'two' })
  }
  const ofSessions = (await sessions.list({ limit: 1 })).next_page ?? ''
  const ofEvents = (await sessions.events.list(first.id, { limit: 1 })).next_page ?? ''
  expect([ofSessions, ofEvents]).not.toContain('')
  const foreign = { ...invalid, message: expect.stringMatching(/^400 .*page: is not a cursor of this list/) }
  await expect(sessions.events.list(second.id, { page: ofEvents })).rejects.toMatchObject(foreign)
  await expect(sessions.events.list(first.id, { page: ofSessions })).rejects.toMatchObject(foreign)
  await expect(sessions.list({ page: ofEvents })).rejects.toMatchObject(foreign)
  await expect(berth.client.beta.agents.list({ page: ofSessions })).rejects.toMatchObject(foreign)
  await expect(sessions.list({ page: 'page_nonsense' })).rejects.toMatchObject(foreign)
  const otherOrder = sessions.events.list(first.id, { page: ofEvents, order: 'desc' })
  await expect(otherOrder).rejects.toMatchObject({ ...invalid, message: expect.stringContaining('page: ') })
})

test('nothing of another workspace exists', async () => {
  const apiKey = await otherWorkspaceKey(berth.dir)
  const { id } = await berth.createSession({ title: 'mine' })
  const { beta } = new Anthropic({ baseURL: berth.server.url, apiKey, maxRetries: 0 })
  const calls: (() => Promise<unknown>)[] = [
    () => beta.sessions.retrieve(id),
    () => beta.sessions.update(id, { title: 'theirs' }),
    () => beta.sessions.archive(id),
    () => beta.sessions.delete(id),
    () => beta.sessions.events.list(id),
    () => beta.sessions.events.stream(id),
    () => beta.sessions.events.send(id, { events: [message('Hello')] }),
    () => beta.agents.retrieve(agent),
    () => beta.agents.archive(agent),
    () => beta.environments.retrieve(environment_id),
    () => beta.environments.archive(environment_id),
    () => beta.environments.delete(environment_id),
    () => beta.sessions.create({ agent, environment_id }),
  ]
  for (const call of calls) {
    await expectRefused(call, { status: 404, type: 'not_found_error', message: /./ })
  }
  for (const list of [beta.sessions.list(), beta.agents.list(), beta.environments.list()]) {
    expect((await list).data).toEqual([])
  }
  expect((await berth.list(id)).length).toBe(0)
})
