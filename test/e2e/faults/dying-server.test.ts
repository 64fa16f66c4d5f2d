import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type EventCollector, type StreamEvent } from '../../harness/event-collector.ts'
import { tool } from '../../harness/message.ts'
import type { ServerProcess } from '../../harness/berth-server.ts'
import { asListed, messagesOf, ofType, onlyOf, textOf } from '../../harness/reading.ts'
import { SessionSandbox } from '../../harness/session-sandbox.ts'
import { untilCallShipped } from '../../harness/shipped.ts'
import { startKillableBerth, type TestBerth } from '../../harness/test-berth.ts'
import { waitUntil } from '../../harness/wait-until.ts'

let berth: TestBerth<ServerProcess>
beforeAll(async () => {
  berth = await startKillableBerth()
})
afterAll(() => berth[Symbol.asyncDispose]())

/** Runs until somebody makes /workspace/go, and leaves a line for each time it was run. */
const untilTold = tool('Bash', {
  command: 'echo ran >> /workspace/effects; until [ -e /workspace/go ]; do sleep 0.05; done; echo told # kept-running',
})
const askForBash = {
  tools: [
    {
      type: 'agent_toolset_20260401' as const,
      configs: [{ name: 'bash' as const, permission_policy: { type: 'always_ask' as const } }],
    },
  ],
}

/** Makes /workspace/go from outside, as long as no server is there. */
async function tell(sandbox: SessionSandbox): Promise<void> {
  await sandbox.made('/workspace/effects')
  await sandbox.make('/workspace/go')
}

/** Reads the session's log until its turn is over. */
async function untilIdle(id: string): Promise<StreamEvent[]> {
  await waitUntil(
    `session ${id} is idle`,
    async () => (await berth.client.beta.sessions.retrieve(id)).status === 'idle',
  )
  return berth.list(id)
}

/** What was seen is still there, unchanged and in its order, and nothing is there twice. */
function expectKept(seen: readonly StreamEvent[], listed: readonly StreamEvent[]): void {
  const kept = asListed(seen).filter((event) => 'processed_at' in event && event.processed_at !== null)
  const ids = new Set(kept.map(idOf))
  expect(listed.filter((event) => ids.has(idOf(event)))).toEqual(kept)
  expect(new Set(listed.map(idOf)).size).toBe(listed.length)
}

function idOf(event: StreamEvent): string {
  return 'id' in event ? event.id : ''
}

interface Scene {
  readonly id: string
  readonly events: EventCollector
}

async function scene(agent?: string): Promise<Scene> {
  const { id } = await berth.createSession(agent === undefined ? {} : { agent })
  return { id, events: await berth.watch(id, { event_deltas: ['agent.message'] }) }
}

describe('a server killed while much is going on', () => {
  let running: Scene
  let streaming: Scene
  let asking: Scene
  let accepted: Scene

  beforeAll(async () => {
    const asked = await berth.createAgent(askForBash)
    ;[running, streaming, asking, accepted] = await Promise.all([scene(), scene(), scene(asked.id), scene()])
    await berth.send(running.id, ['Run', untilTold, '::next', '::text {{result}}'])
    await berth.send(asking.id, [
      'Ask',
      tool('Bash', { command: 'echo ran >> /workspace/effects' }),
      tool('Bash', { command: 'echo no' }),
      '::next',
      '::text {{result:1}}|{{result:2}}',
    ])
    const sandbox = await SessionSandbox.of(berth.traces, running.id)
    await sandbox.made('/workspace/effects')
    await asking.events.turn()
    await berth.send(streaming.id, ['Stream', '::slow 40', '::chunks 100', '::repeat 100 word'])
    await streaming.events.first('event_delta')
    await berth.send(accepted.id, ['Accepted', '::text Once.'])
    await berth.server.kill()
    await tell(sandbox)
    await berth.server.restart()
  })

  test('goes on with the tool that ran: it ran once, and its result is there', async () => {
    const listed = await untilIdle(running.id)
    expectKept(running.events.events, listed)
    expect(messagesOf(listed)).toEqual(['told'])
    expect(berth.modelCalls('Run')).toHaveLength(2)
    const turn = await berth.runTurn(running.id, [
      'Look',
      tool('Bash', { command: 'cat effects' }),
      '::next',
      '::text {{result}}',
    ])
    expect(messagesOf(turn)).toEqual(['ran'])
  })

  test('has the whole of the answer that was being written, once', async () => {
    const listed = await untilIdle(streaming.id)
    expectKept(streaming.events.events, listed)
    expect(messagesOf(listed)).toEqual([Array.from({ length: 100 }, () => 'word').join(' ')])
    expect(berth.modelCalls('Stream')).toHaveLength(1)
  })

  test('still waits for the approvals, which work', async () => {
    const session = await berth.client.beta.sessions.retrieve(asking.id)
    expect(session.status).toBe('idle')
    const before = await berth.list(asking.id)
    expectKept(asking.events.events, before)
    expect(onlyOf(before, 'session.status_idle').stop_reason).toMatchObject({ type: 'requires_action' })
    const [first, second] = ofType(before, 'agent.tool_use')
    await using events = await berth.watch(asking.id)
    await berth.client.beta.sessions.events.send(asking.id, {
      events: [
        { type: 'user.tool_confirmation', tool_use_id: first?.id ?? '', result: 'allow' },
        { type: 'user.tool_confirmation', tool_use_id: second?.id ?? '', result: 'deny', deny_message: 'Not that.' },
      ],
    })
    const turn = await events.turn()
    expect(messagesOf(turn)[0]).toMatch(/\|.*Not that\./)
    expect(berth.modelCalls('Ask')).toHaveLength(2)
  })

  test('carries out the message that it had just accepted, once', async () => {
    const listed = await untilIdle(accepted.id)
    expectKept(accepted.events.events, listed)
    expect(messagesOf(listed)).toEqual(['Once.'])
    expect(berth.modelCalls('Accepted')).toHaveLength(1)
  })
})

test('a server that is killed again and again loses and doubles nothing of a turn', async () => {
  const { id, events } = await scene()
  const steps = [1, 2, 3, 4, 5, 6].flatMap((n) => [
    tool('Bash', { command: `echo ${n} >> steps; sleep 0.3` }),
    '::next',
  ])
  const seen: StreamEvent[] = []
  await berth.send(id, ['Steps', ...steps, '::text Done.'])
  await events.first('agent.tool_use')
  for (let kills = 0; kills < 2; kills++) {
    await berth.server.kill()
    await berth.server.restart()
    await using again = await berth.watch(id)
    // Or it is over by now.
    const isIdle = async () => (await berth.client.beta.sessions.retrieve(id)).status === 'idle'
    await waitUntil('something happens', async () => again.events.length > 0 || (await isIdle()))
    seen.push(...again.events)
  }
  const listed = await untilIdle(id)
  expectKept([...events.events, ...seen], listed)
  expect(messagesOf(listed)).toEqual(['Done.'])
  expect(ofType(listed, 'agent.tool_use')).toHaveLength(6)
  expect(ofType(listed, 'agent.tool_result')).toHaveLength(6)
  const turn = await berth.runTurn(id, [
    'Look',
    tool('Bash', { command: 'echo $(cat steps)' }),
    '::next',
    '::text {{result}}',
  ])
  expect(messagesOf(turn)).toEqual(['1 2 3 4 5 6'])
  expect(berth.modelCalls('Steps')).toHaveLength(7)
})

test('a server that is asked to end does so, whatever runs; the sandbox lives on, and so does the turn', async () => {
  const { id, events } = await scene()
  await berth.send(id, ['Drain', untilTold, '::next', '::text {{result}}'])
  const sandbox = await SessionSandbox.of(berth.traces, id)
  await sandbox.made('/workspace/effects')
  const { pid } = await sandbox.tool('kept-running')
  expect(await berth.server.kill('SIGTERM')).toMatchObject({ code: 0 })
  await events.finished()
  expect((await sandbox.processes()).map((process) => process.pid)).toContain(pid)
  await berth.server.restart()
  expect((await berth.client.beta.sessions.retrieve(id)).status).toBe('running')
  await tell(sandbox)
  const listed = await untilIdle(id)
  expectKept(events.events, listed)
  expect(messagesOf(listed)).toEqual(['told'])
})

describe('a server killed together with a sandbox', () => {
  test('finds its disk: the session goes on in it, whether it was at work or not', async () => {
    const [working, idle] = await Promise.all([scene(), scene()])
    const write = tool('Write', { file_path: '/workspace/f', content: 'kept' })
    await berth.runTurn(idle.id, ['Remember', write, '::next', '::text Kept.'])
    await berth.send(working.id, ['Work', untilTold, '::next', '::text After.'])
    const sandboxes = await Promise.all([working, idle].map(({ id }) => SessionSandbox.of(berth.traces, id)))
    await sandboxes[0]?.made('/workspace/effects')
    await untilCallShipped(berth.dir, working.id, 'kept-running')
    await berth.server.kill()
    for (const sandbox of sandboxes) await sandbox.kill({ disk: 'kept' })
    await berth.server.restart()
    const log = await untilIdle(working.id)
    expect(messagesOf(log)).toEqual(['After.'])
    expect(ofType(log, 'session.status_rescheduled')).toHaveLength(1)
    const read = tool('Bash', { command: 'cat /workspace/effects /workspace/f 2>&1 | grep -v cat:' })
    const effects = await berth.runTurn(working.id, ['Read', read, '::next', '::text Read.'])
    expect(textOf(onlyOf(effects, 'agent.tool_result').content)).toBe('ran')
    const kept = await berth.runTurn(idle.id, ['Read', read, '::next', '::text Read.'])
    expect(textOf(onlyOf(kept, 'agent.tool_result').content)).toBe('kept')
    expect((await berth.list(idle.id)).filter(({ type }) => type === 'session.error')).toEqual([])
    const now = await Promise.all([working, idle].map(({ id }) => SessionSandbox.of(berth.traces, id)))
    expect(now.map(({ ref }) => ref.id)).toEqual(sandboxes.map(({ ref }) => ref.id))
  })
})
