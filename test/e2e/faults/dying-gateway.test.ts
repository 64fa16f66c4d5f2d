import { afterAll, beforeAll, expect, test } from 'vitest'
import { untilTold } from '../../harness/message.ts'
import { messagesOf, ofType, onlyOf } from '../../harness/reading.ts'
import { SessionSandbox } from '../../harness/session-sandbox.ts'
import { startTestBerth, type TestBerth } from '../../harness/test-berth.ts'

let berth: TestBerth
beforeAll(async () => {
  berth = await startTestBerth()
})
afterAll(() => berth[Symbol.asyncDispose]())

test('a gateway killed while an answer streams is replaced, and the request is made again', async () => {
  const { id } = await berth.createSession()
  await using events = await berth.watch(id, { event_deltas: ['agent.message'] })
  await berth.send(id, ['Stream', '::stall 50 times=1', '::chunks 100', '::repeat 100 word'])
  await events.first('event_delta')
  await berth.traces.replaceGateway()
  const turn = await events.turn()
  expect(ofType(turn, 'session.error').map(({ error }) => error.retry_status.type)).toContain('retrying')
  expect(messagesOf(turn)).toEqual([Array.from({ length: 100 }, () => 'word').join(' ')])
  expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
  expect((await berth.client.beta.sessions.retrieve(id)).usage?.output_tokens).toBeGreaterThan(0)
})

test('a gateway killed while a tool runs is there again for the next request', async () => {
  const { id } = await berth.createSession()
  await using events = await berth.watch(id)
  await berth.send(id, ['Work', untilTold, '::next', '::text {{result}}'])
  await events.first('agent.tool_use')
  const sandbox = await SessionSandbox.of(berth.traces, id)
  await berth.traces.replaceGateway()
  await sandbox.make('/workspace/go')
  const turn = await events.turn()
  expect(messagesOf(turn)).toEqual(['told'])
})
