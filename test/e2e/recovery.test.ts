import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect } from 'vitest'
import type { StreamEvent } from '../harness/event-collector.ts'
import { tool } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { untilCallShipped } from '../harness/shipped.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'

type Policy = 'continue' | 'rerun' | 'stop'

async function sessionWith(berth: TestBerth, on_interrupted_turn: Policy): Promise<string> {
  return (await berth.createSessionWith({ on_interrupted_turn })).id
}

/** One file whose lines count how often a tool really ran. */
const count = (name: string): string => `echo run >> ${name}`
const hold = 'touch held; while [ ! -e go ]; do sleep 0.1; done'

/**
 * Sends a prompt whose first call comes to `hold`, and waits until it is there and stands in the shipped transcript: whatever is killed from
 * then on, the call has begun, and the agent remembers that.
 */
async function begin(berth: TestBerth, id: string, prompt: readonly string[]): Promise<SessionSandbox> {
  await berth.send(id, prompt)
  const sandbox = await SessionSandbox.of(berth.traces, id)
  await sandbox.made('/workspace/held')
  await untilCallShipped(berth.dir, id, 'touch held')
  return sandbox
}

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
    const sandbox = await begin(berth, id, [
      'Work',
      tool('Bash', { command: `${count('a')}; ${hold}` }),
      '::next',
      '::text After.',
    ])
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

  for (const [which, before] of [
    ['its first turn', []],
    ['a later turn', ['First']],
  ] as const) {
    story(`begins again from its input where the policy says rerun, in ${which}`, async ({ berth }) => {
      const id = await sessionWith(berth, 'rerun')
      for (const prompt of before) await berth.runTurn(id, [prompt, '::text Done.'])
      await using events = await berth.watch(id)
      const sandbox = await begin(berth, id, [
        'Work',
        tool('Bash', { command: `${count('b')}; [ $(cat b | wc -l) -gt 1 ] || { ${hold}; }` }),
        '::next',
        '::text {{turns}} {{prompt:1}}',
      ])
      process.kill((await sandbox.cli()).pid, 'SIGKILL')
      const turn = await events.turn()
      expectRescheduled(turn)
      expect(messagesOf(turn)).toEqual([`${before.length + 1} ${[...before, 'Work'][0]}`])
      expect(await lines(berth, id, 'b')).toBe('2')
    })
  }

  story('ends where the policy says stop, and the session goes on with the next message', async ({ berth }) => {
    const id = await sessionWith(berth, 'stop')
    await using events = await berth.watch(id)
    const sandbox = await begin(berth, id, [
      'Work',
      tool('Bash', { command: `${count('c')}; ${hold}` }),
      '::next',
      '::text Never.',
    ])
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

async function remember(berth: TestBerth, on_interrupted_turn: Policy = 'continue'): Promise<string> {
  const id = await sessionWith(berth, on_interrupted_turn)
  const write = tool('Write', { file_path: '/workspace/f', content: 'kept' })
  await berth.runTurn(id, ['Remember', write, '::next', '::text Kept.'])
  return id
}

const sandboxId = async (berth: TestBerth, id: string): Promise<string> =>
  (await SessionSandbox.of(berth.traces, id)).ref.id

async function readFileIn(berth: TestBerth, id: string, name: string): Promise<string> {
  const turn = await berth.runTurn(id, [
    'Read',
    tool('Bash', { command: `cat ${name} 2>&1` }),
    '::next',
    '::text Read.',
  ])
  return textOf(onlyOf(turn, 'agent.tool_result').content)
}

describe('a session whose sandbox has ended', () => {
  story('goes on in the same one, with its files, when the runner is killed', async ({ berth }) => {
    const id = await remember(berth)
    await using events = await berth.watch(id)
    const sandbox = await begin(berth, id, [
      'Toil',
      tool('Bash', { command: `${count('d')}; ${hold}` }),
      '::next',
      '::text {{prompt:1}}',
    ])
    process.kill((await sandbox.runner()).pid, 'SIGKILL')
    const turn = await events.turn()
    expectRescheduled(turn)
    expect(messagesOf(turn)).toEqual(['Remember'])
    const told = JSON.stringify(berth.modelCalls('Toil').map(({ last_user }) => last_user))
    expect(told).toContain('Files are as they were')
    expect(told).toContain('outcome is unknown')
    expect(await lines(berth, id, 'd')).toBe('1')
    expect(await readFileIn(berth, id, 'f')).toBe('kept')
    expect(await sandboxId(berth, id)).toBe(sandbox.ref.id)
  })

  story('says again what the agent said when nobody heard it', async ({ berth }) => {
    const id = await remember(berth)
    await using events = await berth.watch(id)
    const mumble = ['Mumble', tool('Bash', { command: hold }), '::next', '::text What nobody heard.']
    const sandbox = await begin(berth, id, mumble)
    const runner = await sandbox.runner()
    process.kill(runner.pid, 'SIGSTOP')
    await sandbox.make('/workspace/go')
    const { pid } = await sandbox.cli()
    const answer = ['-rqs', '"text":"What nobody heard.', `/proc/${pid}/root/home`]
    const isThere = (): Promise<boolean> =>
      promisify(execFile)('grep', answer).then(
        () => true,
        () => false,
      )
    await waitUntil('the answer stands in the transcript', isThere)
    process.kill(runner.pid, 'SIGKILL')
    const turn = await events.turn()
    expectRescheduled(turn)
    expect(messagesOf(turn)).toEqual(['What nobody heard.'])
  })

  story('begins the turn again there where the policy says rerun', async ({ berth }) => {
    const id = await remember(berth, 'rerun')
    await using events = await berth.watch(id)
    const twice = `${count('e')}; [ $(cat e | wc -l) -gt 1 ] || { ${hold}; }`
    const again = tool('Bash', { command: twice })
    const sandbox = await begin(berth, id, ['Work again', again, '::next', '::text {{turns}} {{prompt:1}}'])
    await sandbox.kill({ disk: 'kept' })
    const turn = await events.turn()
    expectRescheduled(turn)
    expect(messagesOf(turn)).toEqual(['2 Remember'])
    expect(await lines(berth, id, 'e')).toBe('2')
    expect(await sandboxId(berth, id)).toBe(sandbox.ref.id)
  })

  story('between turns says nothing of it, and the next message finds the files, each time', async ({ berth }) => {
    const id = await remember(berth)
    const first = await sandboxId(berth, id)
    for (let time = 0; time < 2; time++) {
      const sandbox = await SessionSandbox.of(berth.traces, id)
      await sandbox.kill({ disk: 'kept' })
      await sandbox.ended()
      expect(await readFileIn(berth, id, 'f')).toBe('kept')
    }
    expect(await sandboxId(berth, id)).toBe(first)
    expect(messagesOf(await berth.runTurn(id, ['Next', '::text {{turns}} {{prompt:1}}']))).toEqual(['4 Remember'])
    expect((await berth.list(id)).filter(({ type }) => type === 'session.error')).toEqual([])
  })

  story('goes on in a new one when the disk is damaged, with the conversation, and says so', async ({ berth }) => {
    const id = await remember(berth)
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await sandbox.kill({ disk: 'kept' })
    await sandbox.damageDisk()
    const turn = await berth.runTurn(id, ['Next', '::text {{turns}} {{prompt:1}}'])
    expectRescheduled(turn)
    expect(onlyOf(turn, 'session.error').error.message).toContain('could not be started again on its own disk')
    expect(messagesOf(turn)).toEqual(['2 Remember'])
    const told = JSON.stringify(berth.modelCalls('Next').map(({ last_user }) => last_user))
    expect(told).toContain('files that were written in the old one are gone')
    expect(told).not.toContain('Files are as they were')
    expect(await sandboxId(berth, id)).not.toBe(sandbox.ref.id)
    expect(await readFileIn(berth, id, 'f')).toContain('No such file')
  })
})

describe('a session whose sandbox is lost with its disk', () => {
  story('goes on in a new one, with the conversation, and says what is gone', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, [
      'Remember',
      tool('Write', { file_path: '/workspace/f', content: 'x' }),
      '::next',
      '::text Kept.',
    ])
    await using events = await berth.watch(id)
    const sandbox = await begin(berth, id, [
      'Lose',
      tool('Bash', { command: `[ ! -e f ] || { ${hold}; }` }),
      '::next',
      '::text {{prompt:1}}',
    ])
    await sandbox.kill({ disk: 'lost' })
    const turn = await events.turn()
    expect(ofType(turn, 'session.status_rescheduled').length).toBeGreaterThan(0)
    expect(messagesOf(turn)).toEqual(['Remember'])
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
    const told = JSON.stringify(berth.modelCalls('Lose').map(({ last_user }) => last_user))
    expect(told).toContain('outcome is unknown')
    expect(told).toContain('files that were written in the old sandbox are gone')
    expect(told).not.toContain('Files are as they were')
    expect((await SessionSandbox.of(berth.traces, id)).ref.id).not.toBe(sandbox.ref.id)
  })

  story('is told between turns that it was, with the next message, which finds the conversation', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['Remember', '::text Kept.'])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await sandbox.kill({ disk: 'lost' })
    await sandbox.ended()
    const turn = await berth.runTurn(id, ['Next', '::text {{turns}} {{prompt:1}}'])
    expect(onlyOf(turn, 'session.error').error.message).toContain('sandbox was lost')
    expect(messagesOf(turn)).toEqual(['2 Remember'])
  })
})
