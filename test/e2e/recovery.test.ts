import { describe, expect } from 'vitest'
import type { StreamEvent } from '../harness/event-collector.ts'
import { tool } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

type Policy = 'continue' | 'rerun' | 'stop'

async function sessionWith(berth: TestBerth, on_interrupted_turn: Policy): Promise<string> {
  // What the official client does not know of travels along.
  const config = { type: 'cloud' as const, berth: { on_interrupted_turn } }
  const environment = await berth.createEnvironment({ config })
  return (await berth.createSession({ environment_id: environment.id })).id
}

/** One file whose lines count how often a tool really ran. */
const count = (name: string): string => `echo run >> ${name}`
const hold = 'touch held; while [ ! -e go ]; do sleep 0.1; done'

async function lines(berth: TestBerth, id: string, name: string): Promise<string> {
  const turn = await berth.runTurn(id, [
    'Count',
    tool('Bash', { command: `cat ${name} 2>&1 | wc -l` }),
    '::next',
    '::text Counted.',
  ])
  return textOf(onlyOf(turn, 'agent.tool_result').content).trim()
}

function expectRescheduled(turn: readonly StreamEvent[], times = 1): void {
  expect(ofType(turn, 'session.status_rescheduled')).toHaveLength(times)
  const errors = ofType(turn, 'session.error').map(({ error }) => error.retry_status.type)
  expect(errors).toEqual(Array.from({ length: times }, () => 'retrying'))
}

describe('a turn whose process is killed', () => {
  story('goes on where it stood, and is told that the outcome of its call is unknown', async ({ berth }) => {
    const id = await sessionWith(berth, 'continue')
    await using events = await berth.watch(id)
    await berth.send(id, ['Work', tool('Bash', { command: `${count('a')}; ${hold}` }), '::next', '::text After.'])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await sandbox.tool('touch held')
    process.kill((await sandbox.cli()).pid, 'SIGKILL')
    const turn = await events.turn()
    expectRescheduled(turn)
    expect(onlyOf(turn, 'agent.tool_result')).toMatchObject({ is_error: true })
    expect(textOf(onlyOf(turn, 'agent.tool_result').content)).toContain('outcome is unknown')
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
    expect(messagesOf(turn)).toEqual(['After.'])
    const told = JSON.stringify(berth.modelCalls('Work').at(-1)?.last_user)
    expect(told).toContain('outcome is unknown')
    expect(await lines(berth, id, 'a')).toBe('1')
  })

  story('is delivered again when the agent had not taken it', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['Warm', '::text Warm.'])
    await using events = await berth.watch(id)
    const sandbox = await SessionSandbox.of(berth.traces, id)
    process.kill((await sandbox.cli()).pid, 'SIGKILL')
    await berth.send(id, ['Hello', '::text {{turns}} {{prompt:1}}'])
    const turn = await events.turn()
    expect(messagesOf(turn)).toEqual(['2 Warm'])
  })

  story('begins again from its input where the policy says rerun', async ({ berth }) => {
    const id = await sessionWith(berth, 'rerun')
    await berth.runTurn(id, ['First', '::text First.'])
    await using events = await berth.watch(id)
    await berth.send(id, [
      'Work',
      tool('Bash', { command: `${count('b')}; [ $(cat b | wc -l) -gt 1 ] || { ${hold}; }` }),
      '::next',
      '::text {{turns}} {{prompt:1}}',
    ])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await sandbox.tool('touch held')
    process.kill((await sandbox.cli()).pid, 'SIGKILL')
    const turn = await events.turn()
    expectRescheduled(turn)
    expect(messagesOf(turn)).toEqual(['2 First'])
    expect(await lines(berth, id, 'b')).toBe('2')
  })

  story('ends where the policy says stop, and the session goes on with the next message', async ({ berth }) => {
    const id = await sessionWith(berth, 'stop')
    await using events = await berth.watch(id)
    await berth.send(id, ['Work', tool('Bash', { command: `${count('c')}; ${hold}` }), '::next', '::text Never.'])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await sandbox.tool('touch held')
    process.kill((await sandbox.cli()).pid, 'SIGKILL')
    const turn = await events.turn()
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'retries_exhausted' })
    expect(onlyOf(turn, 'session.error').error.retry_status.type).toBe('exhausted')
    expect(messagesOf(await berth.runTurn(id, ['Next', '::text {{turns}} {{prompt:1}}']))).toEqual(['2 Work'])
  })

  story('is given up after the third time in a row', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    const deadly = 'kill -9 $PPID; while :; do sleep 0.1; done'
    await berth.send(id, [
      'Die',
      tool('Bash', { command: deadly }),
      '::next',
      tool('Bash', { command: deadly }),
      '::next',
      tool('Bash', { command: deadly }),
      '::next',
      '::text Never.',
    ])
    const turn = await events.turn()
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'retries_exhausted' })
    expect(ofType(turn, 'session.error').map(({ error }) => error.retry_status.type)).toEqual([
      'retrying',
      'retrying',
      'exhausted',
    ])
    expect(messagesOf(await berth.runTurn(id, ['Next', '::text {{turns}}']))).toEqual(['2'])
  })
})

describe('a session whose sandbox is lost', () => {
  story('goes on in a new one, with the conversation, and says what is gone', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, [
      'Remember',
      tool('Write', { file_path: '/workspace/f', content: 'x' }),
      '::next',
      '::text Kept.',
    ])
    await using events = await berth.watch(id)
    await berth.send(id, [
      'Work',
      tool('Bash', { command: `[ ! -e f ] || { ${hold}; }` }),
      '::next',
      '::text {{prompt:1}}',
    ])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await sandbox.tool('touch held')
    process.kill(await sandbox.shimPid(), 'SIGKILL')
    const turn = await events.turn()
    expectRescheduled(turn)
    expect(messagesOf(turn)).toEqual(['Remember'])
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
    // Whether the call itself is in the restored conversation depends on the moment; that it is told of does not.
    const told = JSON.stringify(berth.modelCalls('Work').map(({ last_user }) => last_user))
    expect(told).toContain('outcome is unknown')
    expect((await SessionSandbox.of(berth.traces, id)).ref.id).not.toBe(sandbox.ref.id)
  })

  story('between turns tells it, and the next message finds the conversation', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['Remember', '::text Kept.'])
    await using events = await berth.watch(id)
    process.kill(await (await SessionSandbox.of(berth.traces, id)).shimPid(), 'SIGKILL')
    const error = await events.first('session.error')
    expect(error.error.message).toContain('sandbox was lost')
    expect(messagesOf(await berth.runTurn(id, ['Next', '::text {{turns}} {{prompt:1}}']))).toEqual(['2 Remember'])
  })
})
