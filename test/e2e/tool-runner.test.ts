import type { DispatchedToolCall } from '@anthropic-ai/sdk/lib/tools/SessionToolRunner'
import { expect } from 'vitest'
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema'
import { message, tool } from '../harness/message.ts'
import { messagesOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'

const input_schema = {
  type: 'object' as const,
  properties: { a: { type: 'number' as const }, b: { type: 'number' as const } },
  required: ['a', 'b'] as const,
}
const add = betaTool({
  name: 'add',
  description: 'Adds two numbers',
  inputSchema: input_schema,
  run: ({ a, b }) => String(a + b),
})
const fail = betaTool({
  name: 'fail',
  description: 'Never works',
  inputSchema: { type: 'object', properties: {} },
  run: () => {
    throw new Error('It never works.')
  },
})

const offered = [
  {
    type: 'custom' as const,
    name: 'add',
    description: 'Adds two numbers',
    input_schema: { ...input_schema, required: ['a', 'b'] },
  },
  { type: 'custom' as const, name: 'fail', description: 'Never works', input_schema: { type: 'object' as const } },
]

story('the official tool runner answers custom tools until the session is archived', async ({ berth }) => {
  const agent = await berth.createAgent({ tools: offered })
  const { id } = await berth.createSession({
    agent: agent.id,
    initial_events: [
      message([
        'Add',
        tool('mcp__custom__add', { a: 1, b: 2 }),
        tool('mcp__custom__add', { a: 3, b: 4 }),
        '::next',
        tool('mcp__custom__fail'),
        '::next',
        '::text Then: {{result}}',
      ]),
    ],
  })
  await using events = await berth.watch(id)
  const runner = berth.client.beta.sessions.events.toolRunner(id, {
    tools: [add, fail],
    signal: AbortSignal.timeout(100_000),
  })
  const calls: DispatchedToolCall[] = []
  const ended = events
    .first('session.status_idle', { where: ({ stop_reason }) => stop_reason.type === 'end_turn' })
    .then(() => berth.client.beta.sessions.archive(id))
  for await (const call of runner) calls.push(call)
  await ended
  expect(calls.map(({ name, isError, posted }) => ({ name, isError, posted }))).toEqual([
    { name: 'add', isError: false, posted: true },
    { name: 'add', isError: false, posted: true },
    { name: 'fail', isError: true, posted: true },
  ])
  const log = await berth.list(id)
  expect(messagesOf(log)).toEqual([expect.stringContaining('It never works.')])
  const results = log.flatMap((event) => (event.type === 'user.custom_tool_result' ? [event.content] : []))
  expect(results.slice(0, 2)).toEqual([[{ type: 'text', text: '3' }], [{ type: 'text', text: '7' }]])
})

story('the official tool runner stops by itself when the session has been idle for a while', async ({ berth }) => {
  const agent = await berth.createAgent({ tools: offered })
  const { id } = await berth.createSession({ agent: agent.id })
  await berth.runTurn(id, ['Nothing to do', '::text Idle.'])
  const runner = berth.client.beta.sessions.events.toolRunner(id, {
    tools: [add],
    maxIdleMs: 200,
    signal: AbortSignal.timeout(20_000),
  })
  const calls: DispatchedToolCall[] = []
  for await (const call of runner) calls.push(call)
  expect(calls).toEqual([])
})
