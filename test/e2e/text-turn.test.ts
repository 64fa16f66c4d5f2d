import { describe, expect } from 'vitest'
import { asListed, messagesOf, ofType, onlyOf } from '../harness/reading.ts'
import { untilTold } from '../harness/message.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { story } from '../harness/story.ts'

describe('a turn of text', () => {
  story('has the events of the profile, in its order, and the list shows the same', async ({ berth }) => {
    const { id } = await berth.createSession()
    const turn = await berth.runTurn(id, [
      'Say it',
      '::thinking I will say it.',
      '::text It is said.',
      '::usage {"input_tokens":1200,"output_tokens":34,"cache_read_input_tokens":500,"cache_creation_input_tokens":60}',
    ])
    expect(turn.map(({ type }) => type)).toEqual([
      'user.message',
      'session.status_running',
      'session.thread_status_running',
      'user.message',
      'span.model_request_start',
      'agent.thinking',
      'agent.message',
      'span.model_request_end',
      'session.thread_status_idle',
      'session.usage',
      'session.status_idle',
    ])
    const [queued, taken] = ofType(turn, 'user.message')
    expect(queued?.processed_at).toBeNull()
    expect(taken).toEqual({ ...queued, processed_at: expect.stringMatching(/^\d{4}-.*Z$/) })
    expect(onlyOf(turn, 'agent.message').content).toEqual([{ type: 'text', text: 'It is said.' }])
    const end = { stop_reason: { type: 'end_turn' }, stop_details: null }
    expect(onlyOf(turn, 'session.thread_status_idle')).toMatchObject({ agent_name: 'Tester', ...end })
    expect(onlyOf(turn, 'session.status_idle')).toMatchObject(end)

    expect(await berth.list(id)).toEqual(asListed(turn))
  })

  story('counts what the model said that it used', async ({ berth }) => {
    const { id } = await berth.createSession()
    const used = {
      input_tokens: 1200,
      output_tokens: 34,
      cache_read_input_tokens: 500,
      cache_creation_input_tokens: 60,
    }
    const turn = await berth.runTurn(id, ['Count', '::text Counted.', `::usage ${JSON.stringify(used)}`])
    const start = onlyOf(turn, 'span.model_request_start')
    expect(onlyOf(turn, 'span.model_request_end')).toMatchObject({
      model_request_start_id: start.id,
      is_error: false,
      model_usage: used,
    })
    const { usage } = onlyOf(turn, 'session.usage')
    expect(usage).toMatchObject({ input_tokens: 1200, output_tokens: 34, cache_read_input_tokens: 500 })
    const session = await berth.client.beta.sessions.retrieve(id)
    expect(session.usage).toEqual(usage)
    expect(session.usage.cache_creation?.ephemeral_5m_input_tokens).toBe(60)
    expect(session.stats.active_seconds).toBeGreaterThan(0)
  })

  story('ids are events’ ids, each once, and times never go back', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['One', '::text 1'])
    await berth.runTurn(id, ['Two', '::text 2'])
    const events = await berth.list(id)
    expect(new Set(events.map((event) => event.id)).size).toBe(events.length)
    for (const event of events) expect(event.id).toMatch(/^sevt_[0-9A-Za-z]+$/)
    const times = events.map((event) => event.processed_at ?? 'none')
    expect(times).toEqual(times.toSorted())
    expect(times).not.toContain('none')
  })

  story('the stored status is right when the event is seen', async ({ berth }) => {
    const { id, status } = await berth.createSession()
    expect(status).toBe('idle')
    await using events = await berth.watch(id)
    await berth.send(id, ['Status', untilTold, '::next', '::text Ready.'])
    await events.first('session.status_running')
    expect(await berth.client.beta.sessions.retrieve(id)).toMatchObject({ status: 'running' })
    await (await SessionSandbox.of(berth.traces, id)).make('/workspace/go')
    await events.first('session.status_idle')
    expect(await berth.client.beta.sessions.retrieve(id)).toMatchObject({ status: 'idle' })
    // What the race of the hosted service would refuse for a moment.
    await berth.client.beta.sessions.archive(id)
    await events.finished()
  })

  story('text in several blocks is one message, text between calls is one each', async ({ berth }) => {
    const { id } = await berth.createSession()
    const turn = await berth.runTurn(id, ['Blocks', '::text One.', '::text Two.'])
    const [first] = ofType(turn, 'agent.message')
    expect(first?.content).toEqual([
      { type: 'text', text: 'One.' },
      { type: 'text', text: 'Two.' },
    ])
    expect(messagesOf(turn)).toEqual(['One.Two.'])
    const second = await berth.runTurn(id, [
      'Calls',
      '::text Before.',
      '::tool Bash {"command":"true"}',
      '::next',
      '::text After.',
    ])
    expect(messagesOf(second)).toEqual(['Before.', 'After.'])
    expect(second.map(({ type }) => type)).toEqual([
      'user.message',
      'session.status_running',
      'session.thread_status_running',
      'user.message',
      'span.model_request_start',
      'agent.message',
      'agent.tool_use',
      'span.model_request_end',
      'agent.tool_result',
      'span.model_request_start',
      'agent.message',
      'span.model_request_end',
      'session.thread_status_idle',
      'session.usage',
      'session.status_idle',
    ])
  })

  story('long text and every kind of letter arrive as they were said', async ({ berth }) => {
    const { id } = await berth.createSession()
    const text = 'Zoë — 你好 👩‍👩‍👧 \\n "quoted" <b>&amp;</b> \u{1d54f}'
    const turn = await berth.runTurn(id, ['Letters', `::text ${text}`, '::repeat 20000 0123456789'])
    const [message] = ofType(turn, 'agent.message')
    expect(message?.content).toEqual([
      { type: 'text', text },
      { type: 'text', text: Array.from({ length: 20_000 }, () => '0123456789').join(' ') },
    ])
  })
})
