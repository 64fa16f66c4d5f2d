import type { SessionConfig } from '@berth/protocol/link'
import { expect, test } from 'vitest'
import { bundleForTests } from './testing/bundle.ts'
import { TestSandbox } from './testing/sandbox.ts'

const bundle = bundleForTests()
const lookup: Partial<SessionConfig> = {
  custom_tools: [
    {
      name: 'lookup',
      description: 'Looks something up.',
      input_schema: { type: 'object', properties: { q: { type: 'string', pattern: '^[a-z]+$' } }, required: ['q'] },
    },
  ],
}
const call = '::tool mcp__custom__lookup {"q":"same"}'

test('the client answers a custom tool', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(lookup)
  session.open()
  session.say(call, '::next', '::text ok')
  const { tool_use_id, name, input, policy } = await session.report('tool_call')
  expect({ name, input, policy }).toEqual({ name: 'mcp__custom__lookup', input: { q: 'same' }, policy: 'always_allow' })
  const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
  session.send({
    type: 'custom_result',
    tool_use_id,
    content: [
      { type: 'text', text: 'forty-two' },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } },
    ],
    is_error: false,
  })
  await session.idle()
  const [result] = session.messages('user')
  expect(JSON.stringify(result)).toContain('forty-two')
  expect(JSON.stringify(sandbox.model.requests().at(-1)?.last_user)).toContain('image/png')
})

test('two equal parallel calls are asked together and get each its own result', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(lookup)
  session.open()
  session.say(call, call, '::next', '::text ok')
  const second = await session.report('tool_call', 2)
  const first = await session.report('tool_call', 1)
  const answer = (id: string, text: string, is_error: boolean) =>
    session.send({ type: 'custom_result', tool_use_id: id, content: [{ type: 'text', text }], is_error })
  answer(second.tool_use_id, 'for the second', true)
  answer(first.tool_use_id, 'for the first', false)
  await session.idle()
  const results = JSON.stringify(sandbox.model.requests().at(-1)?.last_user)
  const at = (text: string) => results.indexOf(text)
  for (const text of [first.tool_use_id, 'for the first', second.tool_use_id, 'for the second']) {
    expect(at(text)).toBeGreaterThan(-1)
  }
  const blocks = sandbox.model.requests().at(-1)?.last_user ?? []
  const blockOf = (id: string) => JSON.stringify(blocks.find((block) => JSON.stringify(block).includes(id)))
  expect(blockOf(first.tool_use_id)).toContain('for the first')
  expect(blockOf(second.tool_use_id)).toContain('for the second')
  expect(blockOf(second.tool_use_id)).toContain('"is_error":true')
})

test('a result may come before the CLI asks for it', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(lookup)
  sandbox.peer.commits = (report) => report.type !== 'tool_call'
  session.open()
  session.say(call, '::next', '::text ok')
  const { tool_use_id } = await session.report('tool_call')
  session.send({ type: 'custom_result', tool_use_id, content: [{ type: 'text', text: 'early' }], is_error: false })
  sandbox.peer.commits = () => true
  sandbox.peer.commit(session.id)
  await session.idle()
  expect(JSON.stringify(session.messages('user'))).toContain('early')
})

test('an interrupt ends the wait for a custom tool', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(lookup)
  session.open()
  session.say(call, '::next', '::text not reached')
  await session.report('tool_call')
  session.send({ type: 'interrupt' })
  await session.idle()
  expect(session.messages('result')).toMatchObject([{ terminal_reason: 'aborted_tools' }])
  session.say('::text next')
  await session.idle(2)
  expect(session.messages('result').at(-1)).toMatchObject({ result: 'next' })
})
