import { openGatewayClient } from '@berth/protocol/gateway-client'
import { controlSocket } from '@berth/gateway'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { pageOf } from '@berth/protocol/api/page'
import { usageEntry } from '@berth/protocol/api/usage'
import { usageOf } from '../harness/berth-api.ts'
import { ofType, onlyOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'

const usage = (input: number, output: number, read: number, written: number): string =>
  `::usage ${JSON.stringify({
    input_tokens: input,
    output_tokens: output,
    cache_read_input_tokens: read,
    cache_creation_input_tokens: written,
  })}`

describe('usage', () => {
  story('adds up over requests and turns, and is what the gateway metered', async ({ berth }) => {
    const { id } = await berth.createSession()
    const first = await berth.runTurn(id, [
      'One',
      usage(100, 10, 1000, 7),
      '::tool Bash {"command":"true"}',
      '::next',
      usage(200, 20, 2000, 70),
      '::text 1',
    ])
    const second = await berth.runTurn(id, ['Two', usage(1, 2, 3, 4), '::text 2'])
    const spans = ofType([...first, ...second], 'span.model_request_end').map(
      ({ model_usage }) => model_usage.input_tokens,
    )
    expect(spans).toEqual([100, 200, 1])
    expect(onlyOf(first, 'session.usage').usage).toMatchObject({
      input_tokens: 300,
      output_tokens: 30,
      cache_read_input_tokens: 3000,
      cache_creation: { ephemeral_5m_input_tokens: 77, ephemeral_1h_input_tokens: 0 },
    })
    const total = onlyOf(second, 'session.usage').usage
    expect(total).toMatchObject({
      input_tokens: 301,
      output_tokens: 32,
      cache_read_input_tokens: 3003,
      cache_creation: { ephemeral_5m_input_tokens: 81, ephemeral_1h_input_tokens: 0 },
    })
    const session = await berth.client.beta.sessions.retrieve(id)
    expect(session.usage).toEqual(total)
    const { models } = await openGatewayClient(controlSocket(join(berth.dir, 'gateway'))).usage(id)
    expect(models).toMatchObject([
      {
        model: 'claude-sonnet-5-5',
        requests: 3,
        input_tokens: 301,
        output_tokens: 32,
        cache_read_input_tokens: 3003,
        cache_creation_5m_input_tokens: 81,
      },
    ])
  })

  story('of a workspace is asked for by group and page, and sandbox time stands beside it', async ({ berth }) => {
    const before = await usageOf(berth, { group_by: 'model' })
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['Priced', usage(1_000_000, 100_000, 0, 0), '::text $3'])
    const [bySession] = await usageOf(berth, { session_id: id, group_by: 'session' })
    expect(bySession).toMatchObject({ session_id: id, day: null, model: null, requests: 1, list_cost_usd: '3' })
    expect(bySession?.sandbox?.seconds).toBeGreaterThan(0)
    const [byModel] = await usageOf(berth, { session_id: id, group_by: 'model' })
    expect(byModel).toMatchObject({ model: 'claude-sonnet-5-5', input_tokens: 1_000_000, sandbox: null })
    const cost = (entries: typeof before) => entries.reduce((sum, { list_cost_usd }) => sum + Number(list_cost_usd), 0)
    expect(cost(await usageOf(berth, { group_by: 'model' })) - cost(before)).toBeCloseTo(3, 6)
    const { agent } = await berth.client.beta.sessions.retrieve(id)
    const all = await usageOf(berth, { agent_id: agent.id, group_by: 'session', limit: '1000' })
    const paged: typeof all = []
    for (let page = ''; page !== 'null';) {
      const query = { agent_id: agent.id, group_by: 'session', limit: '1', page }
      const answer = pageOf(usageEntry).parse(
        await (await berth.fetch(`/berth/v1/usage?${new URLSearchParams(query).toString()}`)).json(),
      )
      paged.push(...answer.data)
      page = String(answer.next_page)
    }
    expect(paged.map(({ session_id }) => session_id)).toEqual(all.map(({ session_id }) => session_id))
    expect(await usageOf(berth, { 'day[lte]': '2020-01-01', group_by: 'day' })).toEqual([])
  })

  story('counts active time and what an interrupted request had used', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id, { event_deltas: ['agent.message'] })
    await berth.send(id, ['Recite', usage(500, 5, 0, 0), '::slow 100', '::chunks 200', '::repeat 200 word'])
    await events.first('event_delta')
    await berth.client.beta.sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })
    const turn = await events.turn()
    const shown = onlyOf(turn, 'session.usage').usage
    expect(shown.input_tokens).toBe(500)
    const idle = await berth.client.beta.sessions.retrieve(id)
    expect(idle.usage).toEqual(shown)
    expect(idle.stats.active_seconds).toBeGreaterThan(0)
    // The clock stands still while the session is idle.
    expect((await berth.client.beta.sessions.retrieve(id)).stats.active_seconds).toBe(idle.stats.active_seconds)
  })

  story('of sessions of several models is each one’s own', async ({ berth }) => {
    const [one, two] = await Promise.all(
      ['claude-opus-5-5', 'claude-haiku-4-5'].map(async (model) => {
        const agent = await berth.createAgent({ model })
        return berth.createSession({ agent: agent.id })
      }),
    )
    if (one === undefined || two === undefined) throw new Error('no sessions')
    await berth.runTurn(one.id, ['Opus', usage(11, 1, 0, 0), '::text o'])
    await berth.runTurn(two.id, ['Haiku', usage(22, 2, 0, 0), '::text h'])
    expect(berth.modelCalls('Opus').map(({ model }) => model)).toEqual(['claude-opus-5-5'])
    expect(berth.modelCalls('Haiku').map(({ model }) => model)).toEqual(['claude-haiku-4-5'])
    expect((await berth.client.beta.sessions.retrieve(one.id)).usage.input_tokens).toBe(11)
    expect((await berth.client.beta.sessions.retrieve(two.id)).usage.input_tokens).toBe(22)
  })
})
