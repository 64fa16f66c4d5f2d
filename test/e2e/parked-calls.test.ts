import type { EventSendParams } from '@anthropic-ai/sdk/resources/beta/sessions/events'
import { describe, expect } from 'vitest'
import type { EventCollector, StreamEvent } from '../harness/event-collector.ts'
import { message, tool } from '../harness/message.ts'
import { untilParked } from '../harness/parked-turn.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { untilCallsShipped } from '../harness/shipped.ts'
import { story } from '../harness/story.ts'
import type { AgentParams, TestBerth } from '../harness/test-berth.ts'

const weather = {
  type: 'custom' as const,
  name: 'get_weather',
  description: 'The weather of a city',
  input_schema: { type: 'object' as const, properties: { city: { type: 'string' } } },
}
const tools: AgentParams['tools'] = [
  { type: 'agent_toolset_20260401', configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] },
  weather,
]

/** Leaves one line per run. */
const mark = (name: string): string => tool('Bash', { command: `echo ran >> ${name}; echo ${name} says hello` })
const call = (city: string): string => tool('mcp__custom__get_weather', { city })
const allow = (id: string) => ({ type: 'user.tool_confirmation' as const, tool_use_id: id, result: 'allow' as const })
const deny = (id: string) => ({
  type: 'user.tool_confirmation' as const,
  tool_use_id: id,
  result: 'deny' as const,
  deny_message: 'No, thanks',
})
const result = (id: string, text: string) => ({
  type: 'user.custom_tool_result' as const,
  custom_tool_use_id: id,
  content: [{ type: 'text' as const, text }],
})
const pendingOf = (turn: readonly StreamEvent[]): readonly string[] => {
  const reason = onlyOf(turn, 'session.status_idle').stop_reason
  return reason.type === 'requires_action' ? reason.event_ids : []
}

/** What goes away while the calls wait. */
const losses = {
  'the CLI': async (berth: TestBerth, id: string) => {
    const sandbox = await SessionSandbox.of(berth.traces, id)
    process.kill((await sandbox.cli()).pid, 'SIGKILL')
    await untilParked(berth.dir, id, 'process')
  },
  'all processes of the sandbox': async (berth: TestBerth, id: string) => {
    await (await SessionSandbox.of(berth.traces, id)).kill({ disk: 'kept' })
    await untilParked(berth.dir, id, 'sandbox')
  },
  'the sandbox': async (berth: TestBerth, id: string) => {
    await (await SessionSandbox.of(berth.traces, id)).kill({ disk: 'lost' })
    await untilParked(berth.dir, id, 'sandbox')
  },
}
type Loss = keyof typeof losses

interface Asked {
  readonly id: string
  readonly events: EventCollector
  /** Events of the calls, in order. */
  readonly calls: readonly string[]
  /** First line of the prompt. */
  readonly prompt: string
  readonly loss: Loss
}

let prompts = 0

/** A session that waits for answers, and has lost something since. */
async function askAndLose(berth: TestBerth, script: readonly string[], loss: Loss): Promise<Asked> {
  const agent = await berth.createAgent({ tools })
  const { id } = await berth.createSession({ agent: agent.id })
  const events = await berth.watch(id)
  const prompt = `Do it (${(prompts += 1)})`
  await berth.send(id, [prompt, ...script])
  const calls = pendingOf(await events.turn())
  await untilCallsShipped(berth.dir, id)
  const before = events.events.length
  await losses[loss](berth, id)
  // Nothing of it concerns who was asked.
  expect(events.events.slice(before)).toEqual([])
  expect(await berth.client.beta.sessions.retrieve(id)).toMatchObject({ status: 'idle' })
  const asks = script.filter((line) => line === '::next').length
  expect(berth.modelCalls(prompt)).toHaveLength(asks)
  return { id, events, calls, prompt, loss }
}

async function answer(berth: TestBerth, { id, events }: Asked, ...sent: EventSendParams['events']) {
  const from = events.events.length
  await berth.client.beta.sessions.events.send(id, { events: sent })
  return events.turn(from)
}

/** What the agent's own look at its files shows: how often each ran. */
async function runs(berth: TestBerth, id: string): Promise<string> {
  const turn = await berth.runTurn(id, [
    'Look',
    tool('Grep', { pattern: 'ran', output_mode: 'count' }),
    '::next',
    '::text {{result}}',
  ])
  return messagesOf(turn).join()
}

const names = ['a', 'b', 'c']
const script = (count: number): string[] => [
  ...names.slice(0, count).map(mark),
  '::next',
  `::text ${names
    .slice(0, count)
    .map((_, n) => `{{result:${n + 1}}}`)
    .join(' | ')}`,
]
const said = (count: number, denied: readonly string[] = []): string =>
  names
    .slice(0, count)
    .map((name) => (denied.includes(name) ? 'No, thanks' : `${name} says hello`))
    .join(' | ')

/** After the last answer: every call has one result, the agent was asked once more, and the turn is over. */
function expectSettled(berth: TestBerth, asked: Asked, rest: readonly StreamEvent[], text: string): void {
  const errors = ofType(asked.events.events, 'session.error').map(({ error }) => error.message)
  expect(errors).toEqual(asked.loss === 'the sandbox' ? [expect.stringContaining('own disk')] : [])
  expect(messagesOf(rest)).toEqual([text])
  expect(onlyOf(rest, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
  const told = JSON.stringify(berth.modelCalls(asked.prompt).at(-1)?.last_user)
  const gone = 'files that were written in the old sandbox are gone'
  expect(told.includes(gone)).toBe(asked.loss === 'the sandbox')
  const results = ofType(asked.events.events, 'agent.tool_result').map(({ tool_use_id }) => tool_use_id)
  expect(results.toSorted()).toEqual(asked.calls.toSorted())
  expect(berth.modelCalls(asked.prompt)).toHaveLength(2)
}

/** What is lost decides how the session comes back, and not what becomes of its calls: one, and a first, a middle and a last one. */
const counts = { 'the CLI': [1, 3], 'the sandbox': [3] } as const

describe.each(['the CLI', 'the sandbox'] as const)('without %s', (loss) => {
  describe.each([...counts[loss]])('calls that wait for a yes, %i at once,', (count) => {
    story('run once each when all are allowed', async ({ berth }) => {
      const asked = await askAndLose(berth, script(count), loss)
      await using _events = asked.events
      const rest = await answer(berth, asked, ...asked.calls.map(allow))
      expectSettled(berth, asked, rest, said(count))
      expect(ofType(rest, 'agent.tool_result').map(({ is_error }) => is_error)).toEqual(asked.calls.map(() => false))
      const seen = await runs(berth, asked.id)
      for (const name of names.slice(0, count)) expect(seen).toMatch(new RegExp(`\\b${name}:1\\b`))
    })

    story('the last of them denied: it does not run, and the agent is told why', async ({ berth }) => {
      const asked = await askAndLose(berth, script(count), loss)
      await using _events = asked.events
      const last = asked.calls.at(-1) ?? ''
      const sent = asked.calls.map((id) => (id === last ? deny(id) : allow(id)))
      const rest = await answer(berth, asked, ...sent)
      const denied = names[count - 1] ?? ''
      expectSettled(berth, asked, rest, said(count, [denied]))
      const results = ofType(rest, 'agent.tool_result')
      expect(results.filter(({ is_error }) => is_error === true).map((one) => one.tool_use_id)).toEqual([last])
      expect(await runs(berth, asked.id)).not.toMatch(new RegExp(`\\b${denied}:`))
    })
  })

  describe.each(counts[loss].filter((count) => count > 1))('calls that wait for a yes, %i at once,', (count) => {
    story(
      'answered one by one and the last first: the rest is asked for again, and then all run',
      async ({ berth }) => {
        const asked = await askAndLose(berth, script(count), loss)
        await using _events = asked.events
        const order = asked.calls.toReversed()
        let rest: StreamEvent[] = []
        for (const [index, id] of order.entries()) {
          rest = await answer(berth, asked, allow(id))
          const open = asked.calls.filter((other) => order.indexOf(other) > index)
          if (open.length === 0) break
          expect(pendingOf(rest)).toEqual(open)
          await expect(berth.send(asked.id, 'Hello?')).rejects.toMatchObject({ status: 400 })
        }
        expectSettled(berth, asked, rest, said(count))
        const seen = await runs(berth, asked.id)
        for (const name of names.slice(0, count)) expect(seen).toMatch(new RegExp(`\\b${name}:1\\b`))
      },
    )
  })

  story('a call that waits for the client’s result is told that, beside one that runs', async ({ berth }) => {
    const lines = [call('Kyiv'), mark('a'), call('Oslo'), '::next', '::text {{result:1}}, {{result:2}}, {{result:3}}']
    const asked = await askAndLose(berth, lines, loss)
    await using _events = asked.events
    const [kyiv = '', bash = '', oslo = ''] = asked.calls
    expect(pendingOf(await answer(berth, asked, result(oslo, 'snow')))).toEqual([kyiv, bash])
    expect(pendingOf(await answer(berth, asked, allow(bash)))).toEqual([kyiv])
    const rest = await answer(berth, asked, result(kyiv, 'sun'))
    expect(messagesOf(rest)).toEqual(['sun, a says hello, snow'])
    expect(berth.modelCalls(asked.prompt)).toHaveLength(2)
    expect(await runs(berth, asked.id)).toMatch(/\ba:1\b/)
  })

  story('an interrupt ends the wait: nothing runs, and the next message is taken', async ({ berth }) => {
    const asked = await askAndLose(berth, script(2), loss)
    await using _events = asked.events
    await answer(berth, asked, allow(asked.calls[0] ?? ''))
    const rest = await answer(berth, asked, { type: 'user.interrupt' })
    expect(onlyOf(rest, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
    expect(ofType(rest, 'agent.tool_result').map(({ is_error }) => is_error)).toEqual([true, true])
    expect(messagesOf(rest)).toEqual([])
    expect(await runs(berth, asked.id)).not.toMatch(/\b[ab]:/)
    expect(messagesOf(await berth.runTurn(asked.id, ['Next', '::text {{prompt:1}}']))).toEqual([asked.prompt])
  })

  story('can be archived and deleted', async ({ berth }) => {
    const asked = await askAndLose(berth, script(1), loss)
    await using _events = asked.events
    await berth.client.beta.sessions.archive(asked.id)
    await expect(answer(berth, asked, allow(asked.calls[0] ?? ''))).rejects.toMatchObject({ status: 400 })
    await berth.client.beta.sessions.delete(asked.id)
  })
})

describe('calls that outlive their CLI', () => {
  story('run in the same sandbox, with its files, when that has ended meanwhile', async ({ berth }) => {
    const lines = [tool('Write', { file_path: '/workspace/f', content: 'kept' }), '::next']
    const look = tool('Bash', { command: 'cat f' })
    const asked = await askAndLose(
      berth,
      [...lines, look, '::next', '::text {{result}}'],
      'all processes of the sandbox',
    )
    await using _events = asked.events
    expect(messagesOf(await answer(berth, asked, ...asked.calls.map(allow)))).toEqual(['kept'])
  })

  story('do not hold up those beside them that need no yes: these ran, or run with them', async ({ berth }) => {
    const write = (name: string): string => tool('Write', { file_path: `/workspace/${name}`, content: 'ran' })
    const lines = [
      write('before'),
      mark('a'),
      write('after'),
      '::next',
      '::text {{result:1}} {{result:2}} {{result:3}}',
    ]
    const asked = await askAndLose(berth, lines, 'the CLI')
    await using _events = asked.events
    const rest = await answer(berth, asked, ...asked.calls.map(allow))
    expect(ofType(rest, 'agent.tool_result').map(({ is_error }) => is_error)).toEqual([false, false])
    expect(messagesOf(rest)[0]).toMatch(/before.*a says hello.*after/s)
    expect(await runs(berth, asked.id)).toMatch(/after:1[\s\S]*/)
  })

  story(
    'survive a second loss, while they wait and while they run; what had begun is not repeated',
    async ({ berth }) => {
      const slow = tool('Bash', { command: 'echo ran >> slow; while [ ! -e go ]; do sleep 0.1; done' })
      const lines = [slow, mark('b'), '::next', '::text {{result:1}} | {{result:2}}']
      const asked = await askAndLose(berth, lines, 'the CLI')
      await using _events = asked.events
      const from = asked.events.events.length
      await berth.client.beta.sessions.events.send(asked.id, { events: asked.calls.map(allow) })
      const sandbox = await SessionSandbox.of(berth.traces, asked.id)
      await sandbox.made('/workspace/slow')
      process.kill((await sandbox.cli()).pid, 'SIGKILL')
      const rest = await asked.events.turn(from)
      const [first, second] = ofType(rest, 'agent.tool_result')
      expect(first).toMatchObject({ tool_use_id: asked.calls[0], is_error: true })
      expect(textOf(first?.content)).toContain('outcome is unknown')
      expect(second).toMatchObject({ tool_use_id: asked.calls[1], is_error: false })
      expect(messagesOf(rest)).toEqual([expect.stringMatching(/outcome is unknown.* \| b says hello/)])
      const seen = await runs(berth, asked.id)
      expect(seen).toMatch(/\bslow:1\b/)
      expect(seen).toMatch(/\bb:1\b/)
    },
  )

  story('are told results of every kind: none, an error, a picture', async ({ berth }) => {
    const asked = await askAndLose(berth, [call('A'), call('B'), call('C'), '::next', '::text {{result:1}}'], 'the CLI')
    await using _events = asked.events
    const [a = '', b = '', c = ''] = asked.calls
    const data = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
    const image = {
      type: 'image' as const,
      source: { type: 'base64' as const, media_type: 'image/png' as const, data },
    }
    const rest = await answer(
      berth,
      asked,
      { type: 'user.custom_tool_result', custom_tool_use_id: a },
      { ...result(b, 'No such city'), is_error: true },
      { type: 'user.custom_tool_result', custom_tool_use_id: c, content: [{ type: 'text', text: 'Map:' }, image] },
    )
    expect(messagesOf(rest)).toEqual(['(no output)'])
    expect(ofType(rest, 'agent.tool_result')).toEqual([])
  })

  story('that cannot be carried out any more did not run, and agent and client are told so', async ({ berth }) => {
    const asked = await askAndLose(berth, [mark('a'), '::next', '::text {{result}}'], 'the CLI')
    await using _events = asked.events
    await berth.client.beta.sessions.update(asked.id, { agent: { tools: [weather] } })
    const rest = await answer(berth, asked, ...asked.calls.map(allow))
    expect(onlyOf(rest, 'session.error').error.message).toContain('could not be carried out')
    expect(onlyOf(rest, 'agent.tool_result')).toMatchObject({ tool_use_id: asked.calls[0], is_error: true })
    expect(messagesOf(rest)).toEqual([expect.stringContaining('It did not run')])
  })

  story('can be interrupted while they run', async ({ berth }) => {
    const slow = tool('Bash', { command: 'echo ran >> slow; exec tail -f /dev/null' })
    const asked = await askAndLose(berth, [slow, mark('b'), '::next', '::text Never.'], 'the CLI')
    await using _events = asked.events
    const from = asked.events.events.length
    await berth.client.beta.sessions.events.send(asked.id, { events: asked.calls.map(allow) })
    await (await SessionSandbox.of(berth.traces, asked.id)).program('tail')
    await berth.client.beta.sessions.events.send(asked.id, { events: [{ type: 'user.interrupt' }, message('More')] })
    const rest = await asked.events.turn(from)
    expect(ofType(rest, 'agent.tool_result').map(({ is_error }) => is_error)).toEqual([true, true])
    const seen = await runs(berth, asked.id)
    expect(seen).toMatch(/\bslow:1\b/)
    expect(seen).not.toMatch(/\bb:/)
  })
})
