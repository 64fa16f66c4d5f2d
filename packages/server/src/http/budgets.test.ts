import type Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serveApp, type TestServer } from '../../test/serve-app.ts'

let server: TestServer
let client: Anthropic
let priced: string
let unpriced: string
let environment_id: string
beforeAll(async () => {
  server = await serveApp()
  client = server.client
  priced = (await client.beta.agents.create({ name: 'A', model: 'claude-sonnet-5-5' })).id
  unpriced = (await client.beta.agents.create({ name: 'B', model: 'mystery' })).id
  environment_id = (await client.beta.environments.create({ name: 'e' })).id
})
afterAll(() => server[Symbol.asyncDispose]())

const cents = (amount: string) => ({ type: 'limit' as const, max_list_cost: { amount, currency: 'USD' as const } })
const create = (budget: ReturnType<typeof cents> | undefined, agent = priced) =>
  client.beta.sessions.create({ agent, environment_id, ...(budget === undefined ? {} : { budget }) })

describe('a budget', () => {
  const whole = /budget\.max_list_cost\.amount: must be a whole number of cents above 0/
  test.each<[string, unknown, RegExp]>([
    [
      'another currency',
      { ...cents('1'), max_list_cost: { amount: '1', currency: 'EUR' } },
      /budget\.max_list_cost\.currency: must be USD/,
    ],
    ['no currency', { type: 'limit', max_list_cost: { amount: '1' } }, /budget\.max_list_cost\.currency: must be USD/],
    ['a number', { type: 'limit', max_list_cost: { amount: 1, currency: 'USD' } }, /budget\.max_list_cost\.amount: /],
    ['a decimal', cents('1.50'), whole],
    ['leading zeros', cents('01'), whole],
    ['nothing', cents('0'), whole],
    ['less than nothing', cents('-1'), whole],
    ['more than can be counted', cents('900000001'), /budget\.max_list_cost\.amount: must be at most 900000000/],
    ['another kind', { ...cents('1'), type: 'quota' }, /budget\.type: /],
    ['an unknown field', { ...cents('1'), per: 'day' }, /budget\.per: unknown field/],
  ])('of %s is refused, and the field named', async (_, budget, message) => {
    for (const [path, body] of [
      ['/v1/sessions', { agent: priced, environment_id, budget }],
      [`/v1/sessions/${(await create(cents('5'))).id}`, { budget }],
    ] as const) {
      await expect(client.post(path, { body })).rejects.toMatchObject({ status: 400, message })
    }
  })

  test('is shown, changed and removed for good', async () => {
    const { id, budget, usage } = await create(cents('500'))
    expect(budget).toEqual(cents('500'))
    expect(usage.list_cost).toEqual({ amount: '0', currency: 'USD' })
    const { sessions } = client.beta
    expect(await sessions.update(id, { title: 't' })).toMatchObject({ budget })
    expect(await sessions.update(id, { budget: cents('700') })).toMatchObject({ budget: cents('700') })
    // Lowering is a change, too, as long as there is something left.
    expect(await sessions.update(id, { budget: cents('1') })).toMatchObject({ budget: cents('1') })
    expect(await sessions.update(id, { budget: null })).toMatchObject({ budget: null })
    await expect(sessions.update(id, { budget: cents('1') })).rejects.toMatchObject({
      status: 400,
      errorCode: 'budget_create_only',
    })
    const events = await sessions.events.list(id, { types: ['session.updated'] })
    expect(events.data).toMatchObject([
      { title: 't' },
      { budget: cents('700') },
      { budget: cents('1') },
      { budget: null },
    ])
    expect(events.data[0]).not.toHaveProperty('budget')
  })

  test('needs a session that was made with one', async () => {
    const { id } = await create(undefined)
    await expect(client.beta.sessions.update(id, { budget: cents('1') })).rejects.toMatchObject({
      status: 400,
      errorCode: 'budget_create_only',
    })
    expect(await client.beta.sessions.update(id, { budget: null })).toMatchObject({ budget: null })
  })

  test('needs a model with a list price', async () => {
    await expect(create(cents('1'), unpriced)).rejects.toMatchObject({
      status: 400,
      errorCode: 'model_not_budgetable',
      message: /budget: the model mystery/,
    })
    expect(await create(undefined, unpriced)).toMatchObject({ budget: null })
  })
})

describe('/berth/v1/usage', () => {
  test.each([
    ['group_by=color', /group_by/],
    ['day[gte]=yesterday', /day\[gte\]: must be a day/],
    ['limit=0', /limit/],
    ['page=nonsense', /page: is not a cursor/],
  ])('refuses %s by name', async (query, message) => {
    const answer = await server.fetch(`/berth/v1/usage?${query}`)
    expect(answer.status).toBe(400)
    expect(await answer.text()).toMatch(message)
  })

  test('says that the gateway does not answer', async () => {
    const answer = await server.fetch('/berth/v1/usage')
    expect(answer.status).toBe(503)
  })

  test('asks for a key', async () => {
    expect((await fetch(`${server.url}/berth/v1/usage`)).status).toBe(401)
  })
})
