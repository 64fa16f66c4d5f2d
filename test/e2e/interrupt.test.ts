import { describe, expect } from 'vitest'
import type { StreamEvent } from '../harness/event-collector.ts'
import { message, tool } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'

const interrupt = { type: 'user.interrupt' as const }

function sendInterrupt(berth: TestBerth, id: string) {
  return berth.client.beta.sessions.events.send(id, { events: [interrupt] })
}

function expectEnded(turn: readonly StreamEvent[]): void {
  expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
  expect(ofType(turn, 'session.error')).toEqual([])
}

describe('an interrupt', () => {
  story('stops an answer that is being written', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id, { event_deltas: ['agent.message'] })
    await berth.send(id, ['Recite', '::slow 100', '::chunks 600', '::repeat 600 word', '::next', '::text Never.'])
    await events.first('event_delta')
    await sendInterrupt(berth, id)
    const turn = await events.turn()
    expectEnded(turn)
    const echoes = ofType(turn, 'user.interrupt')
    expect(echoes.at(-1)?.processed_at).not.toBeNull()
    const end = onlyOf(turn, 'span.model_request_end')
    expect(end.is_error).toBe(true)
    expect(messagesOf(turn)).toEqual([])
    await expect.poll(() => berth.modelCalls('Recite').map(({ outcome }) => outcome)).toEqual(['closed'])
    expect(messagesOf(await berth.runTurn(id, ['Next', '::text {{turns}}']))).toEqual(['2'])
    expect(berth.modelCalls('Recite')).toHaveLength(1)
  })

  story('ends a tool that runs, with everything it started', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    const endless = '(while true; do date +%s%N > beat; sleep 0.05; done) & while true; do sleep 0.1; done'
    await berth.send(id, ['Run', tool('Bash', { command: endless }), '::next', '::text Never.'])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await sandbox.made('/workspace/beat')
    await sendInterrupt(berth, id)
    const turn = await events.turn()
    expectEnded(turn)
    const call = onlyOf(turn, 'agent.tool_use')
    expect(onlyOf(turn, 'agent.tool_result')).toMatchObject({ tool_use_id: call.id, is_error: true })
    expect(messagesOf(turn)).toEqual([])
    const running = async (): Promise<boolean> =>
      (await sandbox.processes()).some(({ args }) => args.some((arg) => arg.includes('beat') || arg === 'sleep'))
    await waitUntil('nothing of the tool runs', async () => !(await running()))
    const next = await berth.runTurn(id, ['Look', tool('Bash', { command: 'ls' }), '::next', '::text {{result}}'])
    expect(messagesOf(next)).toEqual(['beat'])
  })

  story('before anything was handed over ends the turn that had not begun', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.client.beta.sessions.events.send(id, { events: [message(['Never', '::text Never.']), interrupt] })
    const turn = await events.turn()
    expectEnded(turn)
    expect(messagesOf(turn)).toEqual([])
    expect(messagesOf(await berth.runTurn(id, ['Now', '::text Now.']))).toEqual(['Now.'])
    expect(berth.modelCalls('Never')).toEqual([])
  })

  story('leaves what waits: the next message has its turn', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.send(id, ['Hang', '::hang'])
    await expect.poll(() => berth.modelCalls('Hang').length).toBe(1)
    await berth.send(id, ['Waiting', '::text Had its turn.'])
    await sendInterrupt(berth, id)
    const turn = await events.turn()
    expectEnded(turn)
    expect(messagesOf(turn)).toEqual(['Had its turn.'])
  })

  story('has no effect while nothing runs', async ({ berth }) => {
    const { id } = await berth.createSession()
    await sendInterrupt(berth, id)
    await berth.runTurn(id, ['One', '::text 1'])
    await using events = await berth.watch(id)
    const { data } = await sendInterrupt(berth, id)
    expect(data).toMatchObject([{ type: 'user.interrupt' }])
    expect(await berth.client.beta.sessions.retrieve(id)).toMatchObject({ status: 'idle' })
    await berth.send(id, ['Two', '::text 2'])
    const turn = await events.turn()
    expect(messagesOf(turn)).toEqual(['2'])
    expectEnded(turn)
  })

  story('with a message behind it: the message is the next turn', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.send(id, ['Old', '::hang'])
    await expect.poll(() => berth.modelCalls('Old').length).toBe(1)
    await berth.client.beta.sessions.events.send(id, {
      events: [interrupt, message(['New', '::text {{prompt:1}}, New'])],
    })
    const turn = await events.turn()
    expectEnded(turn)
    expect(messagesOf(turn)).toEqual(['Old, New'])
    expect(ofType(turn, 'session.status_running')).toHaveLength(1)
    expect(berth.modelCalls('Old')).toHaveLength(1)
  })

  story('of a thread that is not there is refused', async ({ berth }) => {
    const { id } = await berth.createSession()
    const refused = berth.client.beta.sessions.events.send(id, {
      events: [{ ...interrupt, session_thread_id: 'sthr_none' }],
    })
    await expect(refused).rejects.toMatchObject({ status: 400 })
    await berth.runTurn(id, ['Thread', '::text It is there.'])
    const thread = (await berth.list(id)).find((event) => event.type === 'session.thread_status_running')
    if (thread?.type !== 'session.thread_status_running') throw new Error('no thread')
    await berth.client.beta.sessions.events.send(id, {
      events: [{ ...interrupt, session_thread_id: thread.session_thread_id }],
    })
  })
})
