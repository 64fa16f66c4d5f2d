/** Sandboxes that wait for sessions, as clients and the machine see them. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { EventCollector } from '../harness/event-collector.ts'
import { tool } from '../harness/message.ts'
import { messagesOf, ofType } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { story } from '../harness/story.ts'
import { type AgentParams, startKillableBerth, type TestBerth } from '../harness/test-berth.ts'
import { createWarmEnvironment, endPool, sandboxOf, untilWarm, warmSandboxes } from '../harness/warm-sandboxes.ts'
import { waitUntil } from '../harness/wait-until.ts'

const STORY_MS = 240_000
const patient = (): AbortSignal => AbortSignal.timeout(90_000)

const askBash: AgentParams['tools'] = [
  { type: 'agent_toolset_20260401', configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] },
]

/** Its first turn, whatever it waits for. */
async function begin(berth: TestBerth, ids: { agent: string; environment_id: string }, lines: string[]) {
  const session = await berth.createSession(ids)
  const events = await berth.watch(session.id)
  await berth.send(session.id, lines)
  return { id: session.id, events }
}

/** A whole turn without questions; its text. */
async function say(berth: TestBerth, id: string, lines: string[]): Promise<string[]> {
  return messagesOf(await berth.runTurn(id, lines, patient()))
}

story(
  'sessions begin in sandboxes that were there before them, each in another, and others take their place',
  async ({ berth }) => {
    const agent = (await berth.createAgent({ tools: askBash })).id
    const environment_id = (await createWarmEnvironment(berth, { size: 2, agent })).id
    const before = await untilWarm(berth, environment_id, { size: 2 })
    const clis = new Map<string, number>()
    for (const id of before) {
      const sandbox = await SessionSandbox.named(berth.traces, id)
      clis.set(id, (await sandbox.cli()).pid)
      // Nobody's CLI has a way to the model.
      expect(await readdir(join(sandbox.ref.runDir ?? '', 'gw'))).toEqual([])
    }
    const write = tool('Bash', { command: 'echo ran >> "$HOME/mark"; cat "$HOME/mark"' })
    const sessions = await Promise.all(
      ['One', 'Two'].map((name) =>
        begin(berth, { agent, environment_id }, [name, write, '::next', `::text ${name} {{result}}`]),
      ),
    )
    const taken = await Promise.all(sessions.map(({ id }) => sandboxOf(berth, id)))
    expect(taken.toSorted()).toEqual(before)
    for (const [index, { id, events }] of sessions.entries()) {
      const asked = await events.first('agent.tool_use', { signal: patient() })
      await events.turn(0, patient())
      const confirmation = { type: 'user.tool_confirmation' as const, tool_use_id: asked.id, result: 'allow' as const }
      const from = events.events.length
      await berth.client.beta.sessions.events.send(id, { events: [confirmation] })
      expect(messagesOf(await events.turn(from, patient()))).toEqual([`${['One', 'Two'][index]} ran`])
      const sandboxId = taken[index] ?? ''
      const sandbox = await SessionSandbox.named(berth.traces, sandboxId)
      // The CLI that had waited did it.
      expect((await sandbox.cli()).pid).toBe(clis.get(sandboxId))
      expect(ofType(events.events, 'session.error')).toEqual([])
      await close(events)
    }
    const after = await untilWarm(berth, environment_id, { size: 2, others: before })
    // A second turn remembers the first, in the same sandbox.
    const [one] = sessions
    expect(await say(berth, one?.id ?? '', ['Again', '::text {{prompt:1}}'])).toEqual(['One'])
    expect(warmSandboxes(berth, environment_id)).toEqual(after)
    // An override of the agent is told to a CLI of its own.
    const other = { type: 'agent_with_overrides' as const, id: agent, system: 'You are another.' }
    const cold = await berth.createSession({ agent: other, environment_id })
    expect(await say(berth, cold.id, ['Cold', '::text Here.'])).toEqual(['Here.'])
    expect(after).not.toContain(await sandboxOf(berth, cold.id))
    expect(berth.server.log()).toContain('no warm sandbox for the session')
    await endPool(berth, environment_id)
  },
  STORY_MS,
)

story(
  'a pool follows its agent, loses nothing to what dies in it, and goes with its environment',
  async ({ berth }) => {
    const agent = (await berth.createAgent()).id
    const environment_id = (await createWarmEnvironment(berth, { size: 1, agent })).id
    const [first = ''] = await untilWarm(berth, environment_id, { size: 1 })
    await (await SessionSandbox.named(berth.traces, first)).kill({ disk: 'kept' })
    // Whether or not the server has seen it: the session has a sandbox that lives.
    const session = await berth.createSession({ agent, environment_id })
    expect(await say(berth, session.id, ['Meanwhile', '::text Works.'])).toEqual(['Works.'])
    const [second = ''] = await untilWarm(berth, environment_id, { size: 1, others: [first] })
    const cli = await (await SessionSandbox.named(berth.traces, second)).cli()
    process.kill(cli.pid, 'SIGKILL')
    const [third = ''] = await untilWarm(berth, environment_id, { size: 1, others: [first, second] })
    await berth.client.beta.agents.update(agent, { version: 1, model: 'claude-haiku-4-5' })
    const [fourth = ''] = await untilWarm(berth, environment_id, { size: 1, others: [third] })
    const next = await berth.createSession({ agent, environment_id })
    expect(await say(berth, next.id, ['Next', '::text New.'])).toEqual(['New.'])
    expect(await sandboxOf(berth, next.id)).toBe(fourth)
    expect(berth.modelCalls('Next').map(({ model }) => model)).toEqual(['claude-haiku-4-5'])
    await endPool(berth, environment_id)
    await berth.assertClean()
  },
  STORY_MS,
)

story(
  'a sandbox without a CLI is for whoever needs one: a session that begins, and one that comes back with its files',
  async ({ berth }) => {
    const lifecycle = { type: 'hybrid', idle_timeout: 0 }
    const environment_id = (await createWarmEnvironment(berth, { size: 1 }, { lifecycle })).id
    const agent = (await berth.createAgent()).id
    const [first = ''] = await untilWarm(berth, environment_id, { size: 1 })
    const { id } = await berth.createSession({ agent, environment_id })
    const write = tool('Bash', { command: 'echo one > note; echo two > ~/own' })
    expect(await say(berth, id, ['First', write, '::next', '::text Done.'])).toEqual(['Done.'])
    await waitUntil('the session is put away', () => /sandbox put away/.test(berth.server.log()))
    await berth.traces.untilGone(first)
    const [second = ''] = await untilWarm(berth, environment_id, { size: 1, others: [first] })
    await using events = await berth.watch(id)
    await berth.send(id, [
      'Second',
      tool('Bash', { command: 'cat note ~/own' }),
      '::next',
      '::text {{prompt:1}} {{result}}',
    ])
    expect(await sandboxOf(berth, id)).toBe(second)
    expect(messagesOf(await events.turn(0, patient()))).toEqual(['First one\ntwo'])
    await endPool(berth, environment_id)
  },
  STORY_MS,
)

test(
  'a pool outlives no server; a session that came from it does',
  async () => {
    await using berth = await startKillableBerth()
    const agent = (await berth.createAgent()).id
    const environment_id = (await createWarmEnvironment(berth, { size: 1, agent })).id
    const [first = ''] = await untilWarm(berth, environment_id, { size: 1 })
    const { id } = await berth.createSession({ agent, environment_id })
    const write = tool('Bash', { command: 'echo kept > ~/note' })
    expect(await say(berth, id, ['First', write, '::next', '::text Done.'])).toEqual(['Done.'])
    const [second = ''] = await untilWarm(berth, environment_id, { size: 1, others: [first] })
    await berth.server.kill()
    await berth.server.restart()
    const [third = ''] = await untilWarm(berth, environment_id, { size: 1, others: [second] })
    await berth.traces.untilGone(second)
    const read = ['Second', tool('Bash', { command: 'cat ~/note' }), '::next', '::text {{prompt:1}} {{result}}']
    expect(await say(berth, id, read)).toEqual(['First kept'])
    expect(await sandboxOf(berth, id)).toBe(first)
    expect(warmSandboxes(berth, environment_id)).toEqual([third])
    await berth.endSessions()
    await berth.server.stop()
    await berth.traces.untilNone()
  },
  STORY_MS,
)

async function close(events: EventCollector): Promise<void> {
  await events[Symbol.asyncDispose]()
}
