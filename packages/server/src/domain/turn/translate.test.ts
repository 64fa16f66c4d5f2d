import type { Report } from '@berth/protocol'
import { expect, test } from 'vitest'
import { translate } from './translate.ts'
import { type EventDraft, previewKey, type TurnContext, type TurnCut } from './turn-log.ts'
import { freshTurn, isBlocked, pendingEventIds, type TurnState } from './turn-state.ts'

type Message = Extract<Report, { type: 'message' }>['message']

/** Feeds reports one after another, as the store does. */
class Conversation {
  turn: TurnState = freshTurn
  events: EventDraft[] = []
  isOver = false
  cut: TurnCut | undefined
  readonly previews: Record<string, string> = {}
  stopped: TurnContext['stopped'] = null
  #ids = 0

  get context(): TurnContext {
    return {
      threadId: 'sthr_1',
      agentName: 'Tester',
      tools: {
        tools: [
          { cliName: 'Bash', wireName: 'bash', policy: 'always_ask' },
          { cliName: 'Read', wireName: 'read', policy: 'always_allow' },
        ],
        customTools: [],
        mcpServers: [
          {
            name: 'My docs',
            linkName: 'My_docs_1',
            place: { type: 'remote', url: 'https://docs.example/mcp' },
            tools: [
              { name: 'read', policy: 'always_allow' },
              { name: 'drop', policy: 'deny' },
            ],
            otherTools: 'always_ask',
          },
          {
            name: 'files',
            linkName: 'files',
            place: { type: 'stdio', name: 'files', command: 'files', args: [], env: {} },
            tools: [],
            otherTools: 'always_allow',
          },
        ],
      },
      newEventId: () => `sevt_${++this.#ids}`,
      previews: this.previews,
      stopped: this.stopped,
    }
  }

  report(report: Report): EventDraft[] {
    const { turn, events, isOver, cut } = translate(this.turn, report, this.context)
    this.turn = turn
    this.isOver = isOver
    this.cut = cut
    this.events.push(...events)
    return [...events]
  }

  message(message: Message): EventDraft[] {
    return this.report({ type: 'message', message })
  }

  start(messageId = 'msg_1'): EventDraft[] {
    const empty = { usage: null, stop_reason: null }
    return this.report({ type: 'model_request', phase: 'start', message_id: messageId, model: 'm', ...empty })
  }

  end(
    messageId = 'msg_1',
    usage: Record<string, unknown> | null = { input_tokens: 3, output_tokens: 5 },
  ): EventDraft[] {
    const rest = { usage, stop_reason: 'end_turn' }
    return this.report({ type: 'model_request', phase: 'end', message_id: messageId, model: 'm', ...rest })
  }

  block(block: Record<string, unknown>, messageId = 'msg_1'): EventDraft[] {
    const message = { id: messageId, model: 'm', content: [block] }
    return this.message({ type: 'assistant', parent_tool_use_id: null, message })
  }

  reach(id: string, name: string, input = {}): EventDraft[] {
    const policy = name === 'Bash' ? 'always_ask' : 'always_allow'
    return this.report({ type: 'tool_call', tool_use_id: id, name, input, policy, agent_id: null })
  }

  result(id: string, text: string, isError = false): EventDraft[] {
    const content = [{ type: 'tool_result', tool_use_id: id, content: text, is_error: isError }]
    return this.message({ type: 'user', parent_tool_use_id: null, message: { role: 'user', content } })
  }
}

const types = (events: readonly EventDraft[]): string[] => events.map((event) => event.type)

test('thinking, text and a call come between the spans, in order, the texts of one run as one message', () => {
  const talk = new Conversation()
  talk.start()
  talk.block({ type: 'thinking', thinking: 'hm' })
  talk.block({ type: 'text', text: 'one' })
  talk.block({ type: 'text', text: 'two' })
  talk.block({ type: 'tool_use', id: 'toolu_1', name: 'Read', input: { file_path: '/a', offset: 5, limit: 2 } })
  talk.end()
  expect(types(talk.events)).toEqual([
    'span.model_request_start',
    'agent.thinking',
    'agent.message',
    'agent.tool_use',
    'span.model_request_end',
  ])
  expect(talk.events[2]).toMatchObject({ content: [{ text: 'one' }, { text: 'two' }] })
  expect(talk.events[3]).toMatchObject({ name: 'read', input: { file_path: '/a', view_range: [5, 6] } })
  expect(talk.events[4]).toMatchObject({
    is_error: false,
    model_request_start_id: talk.events[0]?.id,
    model_usage: { input_tokens: 3, output_tokens: 5 },
  })
})

test('a previewed message is stored under the id of its preview', () => {
  const talk = new Conversation()
  talk.previews[previewKey('agent.message', 'msg_1', 0)] = 'sevt_preview'
  talk.start()
  talk.block({ type: 'text', text: 'hello' })
  expect(talk.end()[0]).toMatchObject({ type: 'agent.message', id: 'sevt_preview' })
})

test('a call is shown once, whichever of message and hook comes first', () => {
  for (const hookFirst of [true, false]) {
    const talk = new Conversation()
    const block = { type: 'tool_use', id: 'toolu_1', name: 'Read', input: { file_path: '/a' } }
    talk.start()
    if (hookFirst) talk.reach('toolu_1', 'Read', { file_path: '/a' })
    talk.block(block)
    if (!hookFirst) talk.reach('toolu_1', 'Read', { file_path: '/a' })
    expect(types(talk.events)).toEqual(['span.model_request_start', 'agent.tool_use'])
  }
})

test('gated calls block only when the message is complete and nothing else runs, and then all at once', () => {
  const talk = new Conversation()
  talk.start()
  talk.block({ type: 'tool_use', id: 'toolu_1', name: 'Read', input: {} })
  talk.reach('toolu_1', 'Read')
  talk.block({ type: 'tool_use', id: 'toolu_2', name: 'Bash', input: {} })
  talk.block({ type: 'tool_use', id: 'toolu_3', name: 'Bash', input: {} })
  expect(isBlocked(talk.turn)).toBe(false)
  talk.end()
  expect(isBlocked(talk.turn)).toBe(false)
  talk.result('toolu_1', 'text')
  // The CLI has not come to a call that waits yet.
  expect(isBlocked(talk.turn)).toBe(false)
  talk.reach('toolu_2', 'Bash')
  expect(isBlocked(talk.turn)).toBe(true)
  const shown = talk.events.filter((event) => event.type === 'agent.tool_use' && event.name === 'bash')
  expect(pendingEventIds(talk.turn)).toEqual(shown.map((event) => event.id))
  expect(shown[0]).toMatchObject({ evaluated_permission: 'ask', evaluation: { type: 'always_ask' } })
})

test('a tool that the agent does not have is refused before any policy', () => {
  const talk = new Conversation()
  talk.start()
  const [event] = talk.block({ type: 'tool_use', id: 'toolu_1', name: 'WebFetch', input: {} })
  expect(event).toMatchObject({ type: 'agent.tool_use', name: 'WebFetch', evaluated_permission: 'deny' })
  expect(event).not.toHaveProperty('evaluation')
})

test('a custom call is shown under its own name, and its result is the client’s event alone', () => {
  const talk = new Conversation()
  talk.start()
  const [event] = talk.block({ type: 'tool_use', id: 'toolu_1', name: 'mcp__custom__lookup', input: { q: 1 } })
  expect(event).toMatchObject({ type: 'agent.custom_tool_use', name: 'lookup', input: { q: 1 } })
  talk.end()
  talk.reach('toolu_1', 'mcp__custom__lookup')
  expect(isBlocked(talk.turn)).toBe(true)
  const call = talk.turn.calls['toolu_1']
  if (call !== undefined) call.answer = 'result'
  expect(talk.result('toolu_1', 'found')).toEqual([])
  expect(talk.turn.calls).toEqual({})
})

test('retries show rescheduling once, and running again at the next sign of life', () => {
  const talk = new Conversation()
  const retry = {
    type: 'system',
    subtype: 'api_retry',
    attempt: 1,
    max_retries: 10,
    error_status: 529,
    error: 'overloaded',
  }
  expect(types(talk.message(retry))).toEqual([
    'session.error',
    'session.status_rescheduled',
    'session.thread_status_rescheduled',
  ])
  expect(talk.events[0]).toMatchObject({
    error: { type: 'model_overloaded_error', retry_status: { type: 'retrying' } },
  })
  expect(types(talk.message(retry))).toEqual(['session.error'])
  expect(types(talk.start())).toEqual([
    'session.status_running',
    'session.thread_status_running',
    'span.model_request_start',
  ])
})

test.each([
  ['rate_limit', 'API Error: 429 slow down', 'model_rate_limited_error'],
  ['server_error', 'API Error: 529 Overloaded', 'model_overloaded_error'],
  ['server_error', 'API Error: 500 broken', 'model_request_failed_error'],
  ['billing_error', 'Credit balance is too low', 'billing_error'],
  ['authentication_failed', 'Invalid API key', 'model_request_failed_error'],
])('a failed request (%s, %s) is one error of type %s, not a message', (error, text, type) => {
  const talk = new Conversation()
  const message = { id: 'x', model: '<synthetic>', content: [{ type: 'text', text }] }
  talk.message({ type: 'assistant', parent_tool_use_id: null, error, message })
  talk.message({ type: 'result', subtype: 'success', is_error: true, terminal_reason: 'api_error', result: text })
  expect(types(talk.events)).toEqual(['session.error'])
  expect(talk.events[0]).toMatchObject({ error: { type, message: text, retry_status: { type: 'exhausted' } } })
})

test('an interrupted turn is no error; its open calls are closed', () => {
  const talk = new Conversation()
  talk.start()
  talk.block({ type: 'tool_use', id: 'toolu_1', name: 'Bash', input: {} })
  talk.end('msg_1', null)
  talk.message({ type: 'result', subtype: 'error_during_execution', is_error: true, terminal_reason: 'aborted_tools' })
  expect(types(talk.events).slice(2)).toEqual(['span.model_request_end', 'agent.tool_result'])
  expect(talk.events.at(-1)).toMatchObject({ is_error: true })
  talk.message({ type: 'system', subtype: 'session_state_changed', state: 'idle' })
  expect(talk.isOver).toBe(true)
})

test('of an answer that was cut, what the agent goes on behind is a message, whether it comes before or after the end', () => {
  for (const textFirst of [true, false]) {
    const talk = new Conversation()
    talk.start('msg_1')
    if (textFirst) talk.block({ type: 'text', text: 'So far' })
    talk.end('msg_1', null)
    if (!textFirst) talk.block({ type: 'text', text: 'So far' })
    talk.start('msg_2')
    talk.block({ type: 'text', text: 'so good' }, 'msg_2')
    talk.end('msg_2')
    expect(types(talk.events)).toEqual([
      'span.model_request_start',
      'span.model_request_end',
      'agent.message',
      'span.model_request_start',
      'agent.message',
      'span.model_request_end',
    ])
    expect(talk.events[2]).toMatchObject({ content: [{ text: 'So far' }] })
  }
})

test('what the CLI keeps of an answer that was cut is a message, also when the request behind it has to be made again', () => {
  const talk = new Conversation()
  talk.start('msg_1')
  talk.block({ type: 'text', text: 'All said' })
  talk.end('msg_1', null)
  const user = (text: string) =>
    talk.message({ type: 'user', parent_tool_use_id: null, message: { content: [{ type: 'text', text }] } })
  user('Your response above was cut off mid-stream.')
  talk.message({ type: 'system', subtype: 'api_retry', attempt: 1, error: 'unknown' })
  talk.start('msg_2')
  talk.end('msg_2')
  talk.message({ type: 'result', subtype: 'success', is_error: false })
  expect(talk.events.filter(({ type }) => type === 'agent.message')).toMatchObject([
    { content: [{ type: 'text', text: 'All said' }] },
  ])
})

test('of an answer that was cut by an interrupt, or that is asked for again, there is no message', () => {
  const interrupted = {
    type: 'result',
    subtype: 'error_during_execution',
    is_error: true,
    terminal_reason: 'aborted_x',
  }
  const again = { type: 'system', subtype: 'api_retry', attempt: 1, error: 'unknown' }
  const note = { content: [{ type: 'text', text: '[Request interrupted by user]' }] }
  const noted = { type: 'user', parent_tool_use_id: null, message: note }
  for (const next of [[interrupted], [noted, interrupted], [again]]) {
    const talk = new Conversation()
    talk.start('msg_1')
    talk.block({ type: 'text', text: 'So far' })
    talk.end('msg_1', null)
    for (const message of next) talk.message(message)
    talk.start('msg_2')
    expect(types(talk.events)).not.toContain('agent.message')
  }
})

test('what was said in an answer in which the process ended is told with the cut', () => {
  const talk = new Conversation()
  talk.start()
  talk.block({ type: 'text', text: 'All said' })
  talk.end('msg_1', null)
  talk.report({ type: 'exited', reason: 'crashed', exit_code: null, signal: 'SIGKILL', detail: '' })
  expect(talk.cut?.unsaid).toEqual(['All said'])
})

test('a process that ends in the middle closes the span and the calls: what had begun is unknown, what waited did not run', () => {
  const talk = new Conversation()
  talk.start()
  talk.block({ type: 'tool_use', id: 'toolu_1', name: 'Read', input: {} })
  talk.reach('toolu_1', 'Read')
  talk.block({ type: 'tool_use', id: 'toolu_2', name: 'Bash', input: {} })
  talk.reach('toolu_2', 'Bash')
  const ended = { exit_code: null, signal: 'SIGKILL', detail: 'out of memory' }
  talk.report({ type: 'exited', reason: 'crashed', ...ended })
  expect(types(talk.events).slice(3)).toEqual(['span.model_request_end', 'agent.tool_result', 'agent.tool_result'])
  expect(JSON.stringify(talk.events.at(-2))).toContain('outcome is unknown')
  expect(JSON.stringify(talk.events.at(-1))).toContain('did not run')
  expect(talk.cut?.error.message).toContain('SIGKILL')
  expect(talk.cut?.begunEventIds).toEqual([talk.events[1]?.id])
  expect(talk.cut?.unsaid).toEqual([])
  expect(talk.turn.calls).toEqual({})
})

test('what a subagent does stays off the primary thread', () => {
  const talk = new Conversation()
  const message = { id: 'x', model: 'm', content: [{ type: 'text', text: 'inner' }] }
  expect(talk.message({ type: 'assistant', parent_tool_use_id: 'toolu_0', message })).toEqual([])
})

test('messages of kinds that nobody knows change nothing', () => {
  const talk = new Conversation()
  for (const message of [{ type: 'news' }, { type: 'system', subtype: 'new' }, { type: 'assistant', message: 7 }, {}]) {
    expect(talk.message(message)).toEqual([])
  }
  expect(talk.turn).toEqual(freshTurn)
})

test('a call of an MCP tool is shown under the names of the agent and of the server, and ends as such', () => {
  const chat = new Conversation()
  chat.start()
  const use = (id: string, name: string) => chat.block({ type: 'tool_use', id, name, input: { q: 1 } })[0]
  const shown = { type: 'agent.mcp_tool_use', mcp_server_name: 'My docs', input: { q: 1 } }
  expect(use('toolu_1', 'mcp__My_docs_1__search')).toMatchObject({
    ...shown,
    name: 'search',
    evaluated_permission: 'ask',
    evaluation: { type: 'always_ask' },
  })
  expect(use('toolu_2', 'mcp__My_docs_1__read')).toMatchObject({
    ...shown,
    name: 'read',
    evaluated_permission: 'allow',
  })
  const denied = use('toolu_3', 'mcp__My_docs_1__drop')
  expect(denied).toMatchObject({ ...shown, name: 'drop', evaluated_permission: 'deny' })
  expect(denied).not.toHaveProperty('evaluation')
  expect(use('toolu_4', 'mcp__other__read')).toMatchObject({ type: 'agent.tool_use', evaluated_permission: 'deny' })
  chat.end()
  const asked = chat.turn.calls['toolu_1']?.eventId
  expect(pendingEventIds(chat.turn)).toEqual([asked])
  expect(chat.result('toolu_1', 'found')).toMatchObject([
    { type: 'agent.mcp_tool_result', mcp_tool_use_id: asked, content: [{ type: 'text', text: 'found' }] },
  ])
})

test('an MCP server that is not there is told once per turn, under the name that the agent has for it', () => {
  const chat = new Conversation()
  const fail = (server: string, kind: 'connection' | 'authentication') =>
    chat.report({ type: 'mcp_failure', server, kind, detail: 'no answer' })
  const init = (...mcp_servers: object[]) => chat.message({ type: 'system', subtype: 'init', mcp_servers })
  expect(fail('My_docs_1', 'connection')).toMatchObject([
    {
      type: 'session.error',
      error: {
        type: 'mcp_connection_failed_error',
        mcp_server_name: 'My docs',
        message: 'MCP server My docs: no answer',
        retry_status: { type: 'retrying' },
      },
    },
  ])
  expect(fail('My_docs_1', 'connection')).toEqual([])
  expect(fail('My_docs_1', 'authentication')).toMatchObject([{ error: { type: 'mcp_authentication_failed_error' } }])
  expect(fail('unknown', 'connection')).toEqual([])
  expect(init({ name: 'files', status: 'connected' }, { name: 'My_docs_1', status: 'failed' })).toEqual([])
  const failed = { name: 'files', status: 'failed' }
  expect(init(failed)).toMatchObject([{ error: { type: 'mcp_connection_failed_error', mcp_server_name: 'files' } }])
  expect(init(failed)).toEqual([])
})
