import { expect, test } from 'vitest'
import { locate } from './prompt.ts'
import { replyTo, type ReplyMessage } from './reply.ts'
import { messagesRequest } from './request.ts'

type Messages = { role: string; content: unknown }[]

function say(messages: Messages, more: { scope?: string; call?: string; body?: object } = {}): ReplyMessage {
  const request = messagesRequest.parse({ model: 'claude-test', messages, ...more.body })
  const { scope = 's', call = 'c' } = more
  return replyTo(request, { position: locate(request), scope, requestBytes: 401, call }).message
}

const user = (content: unknown) => ({ role: 'user', content })
const assistant = (content: unknown) => ({ role: 'assistant', content })
const textOf = (message: ReplyMessage) =>
  message.content.map((block) => (block.type === 'text' ? block.text : `<${block.type}>`)).join('|')

test('a step becomes a message: blocks, stop reason, usage, model', () => {
  const message = say([user('::thinking hm\n::text four\n::tool Bash {"a":1}')])
  expect(message).toMatchObject({
    type: 'message',
    role: 'assistant',
    model: 'claude-test',
    stop_reason: 'tool_use',
    stop_sequence: null,
  })
  expect(message.content).toMatchObject([
    { type: 'thinking', thinking: 'hm', signature: expect.stringMatching(/./) },
    { type: 'text', text: 'four' },
    { type: 'tool_use', id: expect.stringMatching(/^toolu_[0-9a-f]{24}$/), name: 'Bash', input: { a: 1 } },
  ])
  // 2 + 4 + 4 + 7 bytes out, 401 in, four bytes a token.
  expect(message.usage).toEqual({
    input_tokens: 101,
    output_tokens: 5,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
  })
})

test('without a tool call the turn ends; ::stop and ::usage override', () => {
  expect(say([user('::text a')]).stop_reason).toBe('end_turn')
  const message = say([user('::text a\n::stop refusal\n::usage {"output_tokens":7,"cache_read_input_tokens":3}')])
  expect(message).toMatchObject({
    stop_reason: 'refusal',
    usage: { input_tokens: 101, output_tokens: 7, cache_read_input_tokens: 3 },
  })
})

test('the step is the one that the conversation has come to; after the last it says Done.', () => {
  const turn = [user('::text one\n::next\n::text two'), assistant('one'), user('Continue from where you left off.')]
  expect(textOf(say(turn))).toBe('two')
  expect(textOf(say([...turn, assistant('two'), user('Stop hook feedback:\nmore')]))).toBe('Done.')
  expect(textOf(say([user('::next\n::text two')]))).toBe('Done.')
})

test('placeholders show results (in the order of their calls), prompts, turns and the system prompt', () => {
  const messages = [
    user('first prompt\n::text x'),
    assistant('x'),
    user(
      'second\n::tool A {}\n::tool B {}\n::next\n::text {{result}} {{result:1}} {{result:3}} {{turns}} {{prompt:1}} {{prompt:9}} {{system}} {{other}}',
    ),
    assistant([
      { type: 'tool_use', id: 'a', name: 'A', input: {} },
      { type: 'tool_use', id: 'b', name: 'B', input: {} },
    ]),
    user([
      {
        type: 'tool_result',
        tool_use_id: 'b',
        content: [
          { type: 'text', text: 'r' },
          { type: 'text', text: '$&b' },
        ],
      },
      { type: 'tool_result', tool_use_id: 'a', content: 'ra' },
    ]),
  ]
  const system = [
    { type: 'text', text: 'x-anthropic-billing-header: x' },
    { type: 'text', text: 'Be good.' },
  ]
  expect(textOf(say(messages, { body: { system } }))).toBe(
    'r\n$&b ra (no result) 2 first prompt (no prompt) Be good. {{other}}',
  )
  expect(textOf(say([user('::text {{result}}|{{system}}')], { body: { system: 'y'.repeat(300) } }))).toBe(
    `(no result)|${'y'.repeat(200)}`,
  )
})

test('tool ids: the same at the same place, another at any other', () => {
  const ids = (messages: Messages, more?: { scope?: string; call?: string }) =>
    say(messages, more).content.flatMap((block) => (block.type === 'tool_use' ? [block.id] : []))
  const turn = [user('::tool A {}\n::tool A {}\n::next\n::tool A {}')]
  const next = [...turn, assistant('x'), user([{ type: 'tool_result', tool_use_id: 'a', content: '' }])]
  const again = [...next, assistant('y'), ...turn]
  expect(ids(turn, { call: 'another try' })).toEqual(ids(turn))
  const all = [...ids(turn), ...ids(turn, { scope: 'other session' }), ...ids(next), ...ids(again)]
  expect(all).toHaveLength(7)
  expect(new Set(all).size).toBe(7)
  expect(say(turn, { call: 'another try' }).id).not.toBe(say(turn).id)
})

test('a prompt without directives gets a plain answer that says once what it is', () => {
  const first = textOf(say([user('Hi there\nmore')]))
  expect(first).toMatch(/^You said: "Hi there"\. .*scripted model/)
  expect(textOf(say([user('Hi'), assistant(first), user('Again')]))).toBe('You said: "Again".')
})

test("a title call gets JSON of its schema about the session's first line; directives in it do nothing", () => {
  const schema = {
    type: 'object',
    properties: { title: { type: 'string' }, kind: { enum: ['a'] } },
    required: ['title', 'kind'],
  }
  const body = { output_config: { format: { type: 'json_schema', schema } } }
  const title = user([{ type: 'text', text: '<session>\nFix it\n::bogus\n</session>\n\nWrite the title.' }])
  expect(JSON.parse(textOf(say([title], { body })))).toEqual({ title: 'Fix it', kind: 'a' })
})

test('a compaction call gets a summary that names the prompts', () => {
  const ask = user('CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\n::tool like this')
  expect(textOf(say([user('p1\n::text a'), assistant('a'), ask]))).toBe('<summary>\nThe user said:\n1. p1\n</summary>')
})

test('a wrong script is refused at its first call, even where the mistake is in a later step', () => {
  expect(() => say([user('::text a\n::next\n::bogus')])).toThrow('script line 3: ::bogus: unknown directive')
})
