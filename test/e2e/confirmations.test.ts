import type { EventSendParams } from '@anthropic-ai/sdk/resources/beta/sessions/events'
import { describe, expect } from 'vitest'
import type { EventCollector, StreamEvent } from '../harness/event-collector.ts'
import { message, tool } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'
import type { AgentParams, TestBerth } from '../harness/test-berth.ts'

const askAll: AgentParams['tools'] = [
  { type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'always_ask' } } },
]
const askBash: AgentParams['tools'] = [
  { type: 'agent_toolset_20260401', configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] },
]

/** Leaves one line per run, so that a later look shows how often it ran. */
const mark = (name: string): string => tool('Bash', { command: `echo ran >> ${name}; echo ${name} says hello` })
const look = [
  'Look',
  tool('Glob', { pattern: '*' }),
  '::next',
  tool('Grep', { pattern: 'ran', output_mode: 'count' }),
  '::next',
  '::text {{result}}',
]

async function createSession(berth: TestBerth, tools: AgentParams['tools'] = askBash): Promise<string> {
  const agent = await berth.createAgent({ tools })
  return (await berth.createSession({ agent: agent.id })).id
}

function confirm(tool_use_id: string, result: 'allow' | 'deny' = 'allow', deny_message?: string) {
  return {
    type: 'user.tool_confirmation' as const,
    tool_use_id,
    result,
    ...(deny_message === undefined ? {} : { deny_message }),
  }
}

function answer(berth: TestBerth, id: string, ...events: ReturnType<typeof confirm>[]) {
  return berth.client.beta.sessions.events.send(id, { events })
}

/** Sends the prompt and waits for the question: ids of the calls in the order of their showing, and all events so far. */
async function ask(berth: TestBerth, events: EventCollector, id: string, lines: readonly string[]) {
  await berth.send(id, lines)
  const turn = await events.turn()
  const calls = ofType(turn, 'agent.tool_use').map((call) => call.id)
  expect(pendingOf(turn)).toEqual(calls)
  return { turn, calls }
}

function pendingOf(turn: readonly StreamEvent[]): readonly string[] {
  const reason = onlyOf(turn, 'session.status_idle').stop_reason
  return reason.type === 'requires_action' ? reason.event_ids : []
}

describe('a call that needs a yes', () => {
  story('waits, has no effect before it and exactly one after', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    const { turn, calls } = await ask(berth, events, id, ['Do it', mark('a'), '::next', '::text {{result}}'])
    expect(onlyOf(turn, 'agent.tool_use')).toMatchObject({
      name: 'bash',
      evaluated_permission: 'ask',
      evaluation: { type: 'always_ask' },
    })
    expect(ofType(turn, 'agent.tool_result')).toEqual([])
    expect(turn.slice(-3).map(({ type }) => type)).toEqual([
      'session.thread_status_idle',
      'session.usage',
      'session.status_idle',
    ])
    expect(await berth.client.beta.sessions.retrieve(id)).toMatchObject({ status: 'idle' })

    const from = events.events.length
    const { data } = await answer(berth, id, confirm(calls[0] ?? ''))
    expect(data).toMatchObject([{ type: 'user.tool_confirmation', tool_use_id: calls[0], result: 'allow' }])
    const rest = await events.turn(from)
    expect(rest.map(({ type }) => type)).toEqual([
      'user.tool_confirmation',
      'user.tool_confirmation',
      'session.status_running',
      'session.thread_status_running',
      'agent.tool_result',
      'span.model_request_start',
      'agent.message',
      'span.model_request_end',
      'session.thread_status_idle',
      'session.usage',
      'session.status_idle',
    ])
    const echoes = ofType(rest, 'user.tool_confirmation').map(({ processed_at }) => processed_at !== null)
    expect(echoes).toEqual([false, true])
    expect(onlyOf(rest, 'agent.tool_result')).toMatchObject({ tool_use_id: calls[0], is_error: false })
    expect(messagesOf(rest)).toEqual(['a says hello'])
    expect(messagesOf(await berth.runTurn(id, look))).toEqual([expect.stringMatching(/^\/?.*a:1\b/m)])
  })

  story('has had no effect when it is denied, and the model is told why', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    const { calls } = await ask(berth, events, id, ['Do it', mark('a'), '::next', '::text {{result}}'])
    const from = events.events.length
    await answer(berth, id, confirm(calls[0] ?? '', 'deny', 'Not on a Sunday.'))
    const rest = await events.turn(from)
    expect(onlyOf(rest, 'agent.tool_result')).toMatchObject({ tool_use_id: calls[0], is_error: true })
    expect(messagesOf(rest)).toEqual([expect.stringContaining('Not on a Sunday.')])
    expect(messagesOf(await berth.runTurn(id, look))).toEqual([expect.not.stringContaining('a:')])
  })

  story('is held whichever tool it is when all are asked for', async ({ berth }) => {
    const id = await createSession(berth, askAll)
    await using events = await berth.watch(id)
    const { turn, calls } = await ask(berth, events, id, [
      'Two kinds',
      tool('Bash', { command: 'echo hello' }),
      tool('Write', { file_path: '/workspace/w', content: 'w' }),
      '::next',
      '::text Both.',
    ])
    expect(ofType(turn, 'agent.tool_use').map(({ name }) => name)).toEqual(['bash', 'write'])
    const from = events.events.length
    await answer(berth, id, ...calls.map((call) => confirm(call)))
    const rest = await events.turn(from)
    expect(ofType(rest, 'agent.tool_result').map(({ is_error }) => is_error)).toEqual([false, false])
    expect(messagesOf(rest)).toEqual(['Both.'])
  })

  story('does not hold the calls beside it that need none', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    await berth.send(id, [
      'Mixed',
      tool('Write', { file_path: '/workspace/free', content: 'ran' }),
      mark('held'),
      '::next',
      '::text Both.',
    ])
    const turn = await events.turn()
    const [write, bash] = ofType(turn, 'agent.tool_use')
    expect(write).toMatchObject({ evaluated_permission: 'allow' })
    expect(pendingOf(turn)).toEqual([bash?.id])
    expect(onlyOf(turn, 'agent.tool_result').tool_use_id).toBe(write?.id)
    const from = events.events.length
    await answer(berth, id, confirm(bash?.id ?? ''))
    expect(messagesOf(await events.turn(from))).toEqual(['Both.'])
  })
})

describe.each([2, 3])('%i calls at once that need a yes', (count) => {
  const names = ['a', 'b', 'c'].slice(0, count)
  const script = [
    'Do them',
    ...names.map(mark),
    '::next',
    `::text ${names.map((_, n) => `{{result:${n + 1}}}`).join(' | ')}`,
  ]
  const said = (denied?: string) => names.map((name) => (name === denied ? 'No, thanks' : `${name} says hello`))

  story('are asked for together and each runs once when all are allowed at once', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    const { calls } = await ask(berth, events, id, script)
    expect(calls).toHaveLength(count)
    const from = events.events.length
    await answer(berth, id, ...calls.map((call) => confirm(call)))
    const rest = await events.turn(from)
    expect(
      ofType(rest, 'agent.tool_result')
        .map(({ tool_use_id }) => tool_use_id)
        .toSorted(),
    ).toEqual(calls.toSorted())
    expect(messagesOf(rest)).toEqual([said().join(' | ')])
    const [seen] = messagesOf(await berth.runTurn(id, look))
    for (const name of names) expect(seen).toMatch(new RegExp(`\\b${name}:1\\b`))
  })

  story('one of them denied: the others run, in whatever order the answers come', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    const { calls } = await ask(berth, events, id, script)
    let from = events.events.length
    const order = calls.toReversed()
    const denied = calls[1]
    for (const [index, call] of order.entries()) {
      from = events.events.length
      await answer(berth, id, call === denied ? confirm(call, 'deny', 'No, thanks') : confirm(call))
      const open = calls.filter((other) => order.indexOf(other) > index)
      // Partly answered: the rest is asked for again.
      if (open.length > 0) expect(pendingOf(await events.turn(from))).toEqual(open)
    }
    const rest = await events.turn(from)
    for (const result of ofType(rest, 'agent.tool_result')) {
      expect(result.is_error).toBe(result.tool_use_id === denied)
    }
    const [answered] = messagesOf(rest)
    for (const part of said('b')) expect(answered).toContain(part)
    const [seen] = messagesOf(await berth.runTurn(id, look))
    expect(seen).toMatch(/\ba:1\b/)
    expect(seen).not.toMatch(/\bb:/)
  })
})

describe('while a call waits for a yes', () => {
  story('messages are refused, and so are answers to what does not wait', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    const { calls } = await ask(berth, events, id, ['Do it', mark('a'), '::next', '::text Done.'])
    const [call = ''] = calls
    const before = await berth.list(id)
    const refuse = async (...sent: EventSendParams['events']) => {
      await expect(berth.client.beta.sessions.events.send(id, { events: sent })).rejects.toMatchObject({ status: 400 })
    }
    await refuse(message('Hello?'))
    await refuse(confirm('sevt_none'))
    await refuse(confirm(id))
    await refuse({ type: 'user.custom_tool_result', custom_tool_use_id: call })
    await refuse(confirm(call), confirm(call))
    await refuse(confirm(call), message('And hello'), confirm('sevt_none'))
    expect(await berth.list(id)).toEqual(before)
    const from = events.events.length
    await answer(berth, id, confirm(call))
    await events.turn(from)
    await refuse(confirm(call))
    const other = await createSession(berth)
    await expect(answer(berth, other, confirm(call))).rejects.toMatchObject({ status: 400 })
  })

  story('an interrupt closes the calls; nothing of them runs, and the next message is taken', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    const { calls } = await ask(berth, events, id, ['Do it', mark('a'), mark('b'), '::next', '::text Never.'])
    const from = events.events.length
    await berth.client.beta.sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })
    const rest = await events.turn(from)
    expect(onlyOf(rest, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
    const results = ofType(rest, 'agent.tool_result')
    expect(results.map(({ tool_use_id }) => tool_use_id).toSorted()).toEqual(calls.toSorted())
    for (const result of results) expect(result.is_error).toBe(true)
    expect(messagesOf(rest)).toEqual([])
    expect(messagesOf(await berth.runTurn(id, look))).toEqual([expect.not.stringMatching(/\b[ab]:1/)])
  })

  story('several can be answered one by one, with looks in between', async ({ berth }) => {
    const id = await createSession(berth)
    await using events = await berth.watch(id)
    const { calls } = await ask(berth, events, id, [
      'Do both',
      mark('a'),
      mark('b'),
      '::next',
      '::text {{result:1}} {{result:2}}',
    ])
    const from = events.events.length
    await answer(berth, id, confirm(calls[0] ?? ''))
    expect(pendingOf(await events.turn(from))).toEqual([calls[1]])
    expect(await berth.client.beta.sessions.retrieve(id)).toMatchObject({ status: 'idle' })
    const then = events.events.length
    await answer(berth, id, confirm(calls[1] ?? ''))
    const rest = await events.turn(then)
    expect(messagesOf(rest)).toEqual(['a says hello b says hello'])
    const all = await berth.list(id)
    const results = all.filter((event) => event.type === 'agent.tool_result')
    expect(results.map((event) => (event.type === 'agent.tool_result' ? textOf(event.content) : ''))).toEqual([
      'a says hello',
      'b says hello',
    ])
  })
})
