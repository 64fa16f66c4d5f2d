import { describe, expect } from 'vitest'
import type { StreamEvent } from '../harness/event-collector.ts'
import { tool } from '../harness/message.ts'
import { messagesOf, onlyOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

interface Limits {
  max_turns?: number
  turn_seconds?: number
  idle_seconds?: number
}

/** What the official client does not know of travels along. */
async function sessionLimited(berth: TestBerth, limits: Limits): Promise<string> {
  const limited = { name: 'Limited', berth: { limits } }
  const agent = await berth.createAgent(limited)
  return (await berth.createSession({ agent: agent.id })).id
}

function expectEndedBy(turn: readonly StreamEvent[], limit: keyof Limits): void {
  const { error } = onlyOf(turn, 'session.error')
  expect(error.message).toContain(`limit ${limit}`)
  expect(error.retry_status.type).toBe('exhausted')
  expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'retries_exhausted' })
}

describe('a turn', () => {
  story('ends when it has made as many model requests as it may', async ({ berth }) => {
    const id = await sessionLimited(berth, { max_turns: 2 })
    const loop = [tool('Bash', { command: 'true' }), '::next']
    const turn = await berth.runTurn(id, ['Loop', ...loop, ...loop, ...loop, '::text Never.'])
    expectEndedBy(turn, 'max_turns')
    expect(berth.modelCalls('Loop')).toHaveLength(2)
    expect(messagesOf(await berth.runTurn(id, ['Next', '::text Again.']))).toEqual(['Again.'])
  })

  story('ends when its time is over', async ({ berth }) => {
    const id = await sessionLimited(berth, { turn_seconds: 8 })
    const turn = await berth.runTurn(id, ['Talk', '::slow 100', '::chunks 600', '::repeat 600 word'])
    expectEndedBy(turn, 'turn_seconds')
    expect(messagesOf(await berth.runTurn(id, ['Next', '::text Again.']))).toEqual(['Again.'])
  })

  story('ends when nothing is heard of it', async ({ berth }) => {
    const id = await sessionLimited(berth, { idle_seconds: 4 })
    const turn = await berth.runTurn(id, ['Stall', '::hang'])
    expectEndedBy(turn, 'idle_seconds')
  })

  story('has the limits of its session where that names some', async ({ berth }) => {
    const limited = { name: 'Limited', berth: { limits: { max_turns: 1 } } }
    const agent = await berth.createAgent(limited)
    const own = { agent: agent.id, berth: { limits: { max_turns: null, turn_seconds: 600 } } }
    const { id } = await berth.createSession(own)
    const turn = await berth.runTurn(id, ['Work', tool('Bash', { command: 'true' }), '::next', '::text Done.'])
    expect(messagesOf(turn)).toEqual(['Done.'])
    const session = await berth.client.beta.sessions.retrieve(id)
    expect(session.agent).toMatchObject({
      berth: { limits: { max_turns: null, turn_seconds: 600, idle_seconds: null } },
    })
  })
})
