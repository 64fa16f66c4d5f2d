import type { EventSendParams } from '@anthropic-ai/sdk/resources/beta/sessions/events'
import { describe, expect } from 'vitest'
import { message, tool } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'
import type { AgentParams, TestBerth } from '../harness/test-berth.ts'

const weather = {
  type: 'custom' as const,
  name: 'get_weather',
  description: 'The weather of a city',
  input_schema: {
    type: 'object' as const,
    properties: { city: { type: 'string', description: 'Name of the city' } },
    required: ['city'],
  },
}
const askBash = {
  type: 'agent_toolset_20260401' as const,
  configs: [{ name: 'bash' as const, permission_policy: { type: 'always_ask' as const } }],
}

async function createSession(berth: TestBerth, tools: AgentParams['tools'] = [weather]): Promise<string> {
  const agent = await berth.createAgent({ tools })
  return (await berth.createSession({ agent: agent.id })).id
}

const call = (city: string): string => tool('mcp__custom__get_weather', { city })

function result(custom_tool_use_id: string, text: string, is_error?: boolean) {
  return {
    type: 'user.custom_tool_result' as const,
    custom_tool_use_id,
    content: [{ type: 'text' as const, text }],
    ...(is_error === undefined ? {} : { is_error }),
  }
}

function send(berth: TestBerth, id: string, ...events: EventSendParams['events']) {
  return berth.client.beta.sessions.events.send(id, { events })
}

describe('a custom tool', () => {
  story('is answered by the client, and the model has the answer', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    await berth.send(id, ['Weather?', call('Paris'), '::next', '::text In Paris it is {{result}}.'])
    const turn = await events.turn()
    const use = onlyOf(turn, 'agent.custom_tool_use')
    expect(use).toMatchObject({ name: 'get_weather', input: { city: 'Paris' } })
    expect(use.id).toMatch(/^sevt_/)
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'requires_action', event_ids: [use.id] })
    const from = events.events.length
    const { data } = await send(berth, id, result(use.id, 'sunny'))
    expect(data).toMatchObject([{ type: 'user.custom_tool_result', custom_tool_use_id: use.id }])
    const rest = await events.turn(from)
    expect(rest.map(({ type }) => type)).toEqual([
      'user.custom_tool_result',
      'session.status_running',
      'session.thread_status_running',
      'span.model_request_start',
      'agent.message',
      'span.model_request_end',
      'session.thread_status_idle',
      'session.usage',
      'session.status_idle',
    ])
    expect(onlyOf(rest, 'user.custom_tool_result').processed_at).not.toBeNull()
    expect(messagesOf(rest)).toEqual(['In Paris it is sunny.'])
  })

  story('called twice with the same input has two calls, answered apart and in any order', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    await berth.send(id, ['Twice', call('Rome'), call('Rome'), '::next', '::text {{result:1}}, then {{result:2}}'])
    const turn = await events.turn()
    const [one = '', two = ''] = ofType(turn, 'agent.custom_tool_use').map((use) => use.id)
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'requires_action', event_ids: [one, two] })
    let from = events.events.length
    await send(berth, id, result(two, 'rain'))
    expect(onlyOf(await events.turn(from), 'session.status_idle').stop_reason).toEqual({
      type: 'requires_action',
      event_ids: [one],
    })
    from = events.events.length
    await send(berth, id, result(one, 'sun'))
    expect(messagesOf(await events.turn(from))).toEqual(['sun, then rain'])
  })

  story('can be answered as soon as its call is seen', async ({ berth }) => {
    const id = await createSession(berth, [weather, { type: 'agent_toolset_20260401' }])
    await using events = await berth.watch(id)
    // The model is still talking after the first call.
    await berth.send(id, [
      'Early',
      call('Oslo'),
      tool('Bash', { command: 'sleep 1; echo slept' }),
      '::next',
      '::text {{result:1}} {{result:2}}',
    ])
    const use = await events.first('agent.custom_tool_use')
    await send(berth, id, result(use.id, 'snow'))
    const turn = await events.until('the agent has spoken', () => events.all('agent.message')[0])
    expect(turn.content).toEqual([{ type: 'text', text: 'snow slept' }])
    await events.first('session.status_idle', { where: ({ stop_reason }) => stop_reason.type === 'end_turn' })
  })

  story('answered twice: the second answer is taken without effect', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    await berth.send(id, ['Once', call('Bern'), '::next', '::text {{result}}'])
    const use = await events.first('agent.custom_tool_use')
    await events.turn()
    const from = events.events.length
    await send(berth, id, result(use.id, 'first'), result(use.id, 'second'))
    expect(messagesOf(await events.turn(from))).toEqual(['first'])
    const { data } = await send(berth, id, result(use.id, 'third'))
    expect(data).toHaveLength(1)
    expect(await berth.client.beta.sessions.retrieve(id)).toMatchObject({ status: 'idle' })
    expect(messagesOf(await berth.runTurn(id, ['Then', '::text Then.']))).toEqual(['Then.'])
    expect(berth.modelCalls('Once')).toHaveLength(2)
  })

  story('may fail, say nothing, or show a picture', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    await berth.send(id, ['Three', call('A'), call('B'), call('C'), '::next', '::text Got them.'])
    const turn = await events.turn()
    const [a = '', b = '', c = ''] = ofType(turn, 'agent.custom_tool_use').map((use) => use.id)
    const data = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
    const image = {
      type: 'image' as const,
      source: { type: 'base64' as const, media_type: 'image/png' as const, data },
    }
    const from = events.events.length
    await send(
      berth,
      id,
      result(a, 'No such city', true),
      { type: 'user.custom_tool_result', custom_tool_use_id: b },
      { type: 'user.custom_tool_result', custom_tool_use_id: c, content: [{ type: 'text', text: 'Map:' }, image] },
    )
    expect(messagesOf(await events.turn(from))).toEqual(['Got them.'])
    const results = (berth.modelCalls('Three').at(-1)?.last_user ?? []).filter(({ type }) => type === 'tool_result')
    expect(results).toHaveLength(3)
    // The CLI tells results in the order in which its calls have ended.
    const failed = results.filter((one) => one['is_error'] === true)
    expect(failed).toHaveLength(1)
    expect(JSON.stringify(failed)).toContain('No such city')
    const withPicture = expect.objectContaining({
      content: expect.arrayContaining([{ type: 'text', text: 'Map:' }, image]),
    })
    expect(results.filter((one) => one['is_error'] !== true)).toEqual(expect.arrayContaining([withPicture]))
  })

  story('beside a call that needs a yes: both are asked for together', async ({ berth }) => {
    const id = await createSession(berth, [weather, askBash])
    await using events = await berth.watch(id)
    await berth.send(id, [
      'Both',
      tool('Bash', { command: 'echo ran' }),
      call('Kyiv'),
      '::next',
      '::text {{result:1}} and {{result:2}}',
    ])
    const turn = await events.turn()
    const bash = onlyOf(turn, 'agent.tool_use')
    const custom = onlyOf(turn, 'agent.custom_tool_use')
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({
      type: 'requires_action',
      event_ids: [bash.id, custom.id],
    })
    let from = events.events.length
    await send(berth, id, result(custom.id, 'cold'))
    expect(onlyOf(await events.turn(from), 'session.status_idle').stop_reason).toEqual({
      type: 'requires_action',
      event_ids: [bash.id],
    })
    from = events.events.length
    await send(berth, id, { type: 'user.tool_confirmation', tool_use_id: bash.id, result: 'allow' })
    expect(messagesOf(await events.turn(from))).toEqual(['ran and cold'])
  })

  story('that waits refuses messages; an interrupt ends the waiting', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    await berth.send(id, ['Wait', call('Lima'), '::next', '::text Never.'])
    const use = await events.first('agent.custom_tool_use')
    await events.turn()
    const refused = { status: 400 }
    await expect(berth.send(id, 'Hello?')).rejects.toMatchObject(refused)
    await expect(send(berth, id, result('sevt_none', 'x'))).rejects.toMatchObject(refused)
    await expect(
      send(berth, id, { type: 'user.tool_confirmation', tool_use_id: use.id, result: 'allow' }),
    ).rejects.toMatchObject(refused)
    await expect(send(berth, id, result(use.id, 'x'), message('Hi'), result('sevt_none', 'x'))).rejects.toMatchObject(
      refused,
    )
    const from = events.events.length
    await send(berth, id, { type: 'user.interrupt' })
    const rest = await events.turn(from)
    expect(onlyOf(rest, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
    expect(messagesOf(rest)).toEqual([])
    expect(messagesOf(await berth.runTurn(id, ['Next', '::text Next.']))).toEqual(['Next.'])
  })
})
