import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { makeRoute, runGateway, temporary } from './fixture/running-gateway.ts'
import { call } from './fixture/sandbox-call.ts'
import { shortAnswer, startUpstream } from './fixture/upstream-server.ts'

const model = 'claude-sonnet-5-5'
/** What `shortAnswer` costs: 10 tokens in, 5 out. */
const COST = 10 * 2000 + 5 * 10_000
const body = JSON.stringify({ model, max_tokens: 5, messages: [{ role: 'user', content: 'hi' }], stream: true })

test('of many requests at once as many are made as the budget pays for, and one more', async () => {
  await using directory = await temporary()
  let underWay = 0
  let most = 0
  await using upstream = await startUpstream(async (response) => {
    most = Math.max(most, ++underWay)
    // Long enough for all to have come.
    await sleep(50)
    underWay -= 1
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(shortAnswer(model))
  })
  const env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'k' }
  await using gateway = await runGateway(`${directory.path}/state`, env)
  const budget = { max_list_cost: 2 * COST + 1, active_ms: 0, active_since: null }
  const route = await makeRoute(directory.path, 's', { budget })
  await gateway.client.route('s', route)
  const answers = await Promise.all(Array.from({ length: 16 }, () => call({ socket: route.socket_path, body })))
  const statuses = answers.map(({ status }) => status).toSorted((one, other) => one - other)
  expect(statuses).toEqual([200, 200, 200, ...Array.from({ length: 13 }, () => 402)])
  expect(upstream.received).toHaveLength(3)
  // Two at once could have crossed it together.
  expect(most).toBe(1)
  const refused = answers.find(({ status }) => status === 402)
  expect(refused?.headers['x-should-retry']).toBe('false')
  expect(JSON.parse(refused?.text ?? '')).toMatchObject({
    error: { type: 'billing_error', message: expect.stringContaining('budget') },
  })
  const { models, stopped } = await gateway.client.usage('s')
  expect(models).toMatchObject([{ requests: 3, list_cost: 3 * COST }])
  expect(stopped).toBe('budget')
})
