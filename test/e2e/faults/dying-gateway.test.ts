import { afterAll, beforeAll, expect, test } from 'vitest'
import { tool } from '../../harness/message.ts'
import { messagesOf, ofType, onlyOf } from '../../harness/reading.ts'
import { startTestBerth, type TestBerth } from '../../harness/test-berth.ts'
import { waitUntil } from '../../harness/wait-until.ts'

let berth: TestBerth
beforeAll(async () => {
  berth = await startTestBerth()
})
afterAll(() => berth[Symbol.asyncDispose]())

async function killGateway(): Promise<number> {
  const pid = (await berth.traces.gateway())?.pid ?? 0
  process.kill(pid, 'SIGKILL')
  return pid
}

function otherGateway(than: number): Promise<number> {
  return waitUntil('another gateway runs', async () => {
    const pid = (await berth.traces.gateway())?.pid
    return pid !== than && pid
  })
}

test('a gateway killed while an answer streams is replaced, and the request is made again', async () => {
  const { id } = await berth.createSession()
  await using events = await berth.watch(id, { event_deltas: ['agent.message'] })
  await berth.send(id, ['Stream', '::slow 30', '::chunks 100', '::repeat 100 word'])
  await events.first('event_delta')
  const killed = await killGateway()
  await otherGateway(killed)
  const turn = await events.turn()
  expect(ofType(turn, 'session.error').map(({ error }) => error.retry_status.type)).toContain('retrying')
  expect(messagesOf(turn)).toEqual([Array.from({ length: 100 }, () => 'word').join(' ')])
  expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
  expect((await berth.client.beta.sessions.retrieve(id)).usage?.output_tokens).toBeGreaterThan(0)
})

test('a gateway killed while a tool runs is there again for the next request', async () => {
  const { id } = await berth.createSession()
  await using events = await berth.watch(id)
  await berth.send(id, ['Work', tool('Bash', { command: 'sleep 1; echo done' }), '::next', '::text {{result}}'])
  await events.first('agent.tool_use')
  await otherGateway(await killGateway())
  const turn = await events.turn()
  expect(messagesOf(turn)).toEqual(['done'])
})
