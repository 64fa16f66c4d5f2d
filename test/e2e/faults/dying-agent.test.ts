import { describe, expect } from 'vitest'
import type { StreamEvent } from '../../harness/event-collector.ts'
import { tool } from '../../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../../harness/reading.ts'
import { SessionSandbox } from '../../harness/session-sandbox.ts'
import { untilCallShipped, untilPromptShipped } from '../../harness/shipped.ts'
import { story } from '../../harness/story.ts'
import type { TestBerth } from '../../harness/test-berth.ts'

const busy = 'while :; do sleep 0.05; done'

/** One try more was announced, with this reason. */
function expectRetried(turn: readonly StreamEvent[], reason: RegExp): void {
  expect(onlyOf(turn, 'session.error').error).toMatchObject({
    type: 'unknown_error',
    retry_status: { type: 'retrying' },
    message: expect.stringMatching(reason),
  })
  const changes = turn.map(({ type }) => type).filter((type) => type.startsWith('session.status'))
  expect(changes).toEqual([
    'session.status_running',
    'session.status_rescheduled',
    'session.status_running',
    'session.status_idle',
  ])
  expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
}

describe('a CLI that is killed', () => {
  story('in the middle of an answer: the session says so, and the agent answers again', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id, { event_deltas: ['agent.message'] })
    await berth.send(id, ['First', '::stall 20 times=1', '::chunks 60', '::repeat 60 word'])
    await events.first('event_delta')
    await untilPromptShipped(berth.dir, id, '::repeat 60 word')
    const sandbox = await SessionSandbox.of(berth.traces, id)
    process.kill((await sandbox.cli()).pid, 'SIGKILL')
    const turn = await events.turn()
    expectRetried(turn, /SIGKILL/)
    expect(ofType(turn, 'span.model_request_end').map(({ is_error }) => is_error)).toEqual([true, false])
    expect(messagesOf(turn)).toEqual([Array.from({ length: 60 }, () => 'word').join(' ')])
    const next = await berth.runTurn(id, ['Second', '::text {{prompt:1}}'])
    expect(messagesOf(next)).toEqual(['First'])
  })

  story('behind a whole text of an answer that is not over: the text is not lost', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.send(id, ['First', '::stall 5 times=1', '::chunks 1', '::text All said.', '::next', '::text Went on.'])
    const raw = async () => (await berth.fetch(`/berth/v1/sessions/${id}/sdk_messages`)).text()
    await expect.poll(raw).toContain('"text":"All said."')
    await untilPromptShipped(berth.dir, id, '::text All said.')
    const sandbox = await SessionSandbox.of(berth.traces, id)
    process.kill((await sandbox.cli()).pid, 'SIGKILL')
    const turn = await events.turn()
    expectRetried(turn, /SIGKILL/)
    // Whether the agent remembers that it has said it, or says it again, depends on the moment.
    expect(messagesOf(turn).filter((text) => text === 'All said.')).toEqual(['All said.'])
  })

  story(
    'in the middle of a tool: its outcome is said to be unknown, it is not run again, and nothing of it is left',
    async ({ berth }) => {
      const { id } = await berth.createSession()
      await using events = await berth.watch(id)
      const call = tool('Bash', { command: `echo x >> /workspace/effects; ${busy} # kept-running` })
      await berth.send(id, ['First', call, '::next', '::text Went on.'])
      const sandbox = await SessionSandbox.of(berth.traces, id)
      await sandbox.made('/workspace/effects')
      await untilCallShipped(berth.dir, id, 'kept-running')
      const cli = await sandbox.cli()
      process.kill(cli.pid, 'SIGKILL')
      const turn = await events.turn()
      expectRetried(turn, /SIGKILL/)
      const { tool_use_id, is_error, content } = onlyOf(turn, 'agent.tool_result')
      expect({ tool_use_id, is_error }).toEqual({ tool_use_id: onlyOf(turn, 'agent.tool_use').id, is_error: true })
      expect(textOf(content)).toContain('unknown')
      expect(messagesOf(turn)).toEqual(['Went on.'])
      const left = (await sandbox.processes()).flatMap(({ args }) => args)
      expect(left.filter((arg) => arg.includes('kept-running'))).toEqual([])
      const next = await berth.runTurn(id, [
        'Second',
        tool('Bash', { command: 'cat effects' }),
        '::next',
        '::text {{result}}',
      ])
      expect(messagesOf(next)).toEqual(['x'])
      expect((await sandbox.cli()).pid).not.toBe(cli.pid)
    },
  )

  story('just as a message comes: the message is answered once', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, 'First')
    const sandbox = await SessionSandbox.of(berth.traces, id)
    const cli = await sandbox.cli()
    process.kill(cli.pid, 'SIGKILL')
    const turn = await berth.runTurn(id, ['Racing', '::text Answered {{prompt:1}}.'])
    expect(messagesOf(turn)).toEqual(['Answered First.'])
    expect((await sandbox.cli()).pid).not.toBe(cli.pid)
    expect(messagesOf(await berth.runTurn(id, ['Third', '::text {{turns}}']))).toEqual(['3'])
    expect(berth.modelCalls('Racing')).toHaveLength(1)
  })
})

describe('an agent', () => {
  story('that kills all it can ends its own CLI and nothing more, and is told so', async ({ berth }) => {
    const { id } = await berth.createSession()
    // The call may be gone with its CLI before its line was written: then the agent, which is told of it, makes it again.
    const once = '[ -e killed ] || { touch killed; kill -9 -1; }'
    const turn = await berth.runTurn(id, ['Kill', tool('Bash', { command: once }), '::next', '::text Went on.'])
    expectRetried(turn, /SIGKILL/)
    expect(ofType(turn, 'agent.tool_result')[0]?.is_error).toBe(true)
    expect(messagesOf(turn)).toEqual(['Went on.'])
  })

  story(
    'that breaks what its CLI needs: the turn is given up after three tries, each time it is said why',
    async ({ berth }) => {
      const { id } = await berth.createSession()
      await berth.runTurn(id, ['Break', tool('Bash', { command: 'chmod 000 /workspace' })])
      const sandbox = await SessionSandbox.of(berth.traces, id)
      process.kill((await sandbox.cli()).pid, 'SIGKILL')
      for (const prompt of ['One', 'Two']) {
        const turn = await berth.runTurn(id, prompt)
        const errors = ofType(turn, 'session.error').map(({ error }) => error)
        expect(errors.map(({ retry_status }) => retry_status.type)).toEqual(['retrying', 'retrying', 'exhausted'])
        expect(errors.at(-1)?.message).toMatch(/could not start.*workspace/)
        expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'retries_exhausted' })
      }
    },
  )
})

describe('a sandbox whose processes are killed', () => {
  /** Runs until it is killed; where it is run once more, it ends. */
  const long = tool('Bash', { command: `[ -e begun ] || { touch begun; ${busy}; } # kept-running` })

  async function destroyDuring(berth: TestBerth, prompt: readonly string[]): Promise<StreamEvent[]> {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.send(id, prompt)
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await sandbox.made('/workspace/begun')
    await untilCallShipped(berth.dir, id, 'kept-running')
    process.kill(await sandbox.shimPid(), 'SIGKILL')
    const turn = await events.turn()
    expectRetried(turn, /sandbox was lost/)
    expect((await SessionSandbox.of(berth.traces, id)).ref.id).toBe(sandbox.ref.id)
    return turn
  }

  /** What the model was told after the loss. */
  function toldOf(berth: TestBerth, firstLine: string): string {
    return JSON.stringify(berth.modelCalls(firstLine).map(({ last_user }) => last_user))
  }

  story(
    'under a running turn: the session says so, and the agent goes on in it, told what is unknown',
    async ({ berth }) => {
      const quick = tool('Bash', { command: 'echo quick' })
      const turn = await destroyDuring(berth, ['Moving', quick, '::next', long, '::next', '::text Went on.'])
      expect(
        ofType(turn, 'agent.tool_result')
          .map(({ is_error }) => is_error)
          .slice(0, 2),
      ).toEqual([false, true])
      expect(messagesOf(turn)).toEqual(['Went on.'])
      expect(toldOf(berth, 'Moving')).toMatch(/outcome is unknown.*kept-running/)
    },
  )

  story('during the first tool of a turn: that this had begun is not hidden from the agent', async ({ berth }) => {
    await destroyDuring(berth, ['Hiding', long, '::next', '::text Went on.'])
    expect(toldOf(berth, 'Hiding')).toMatch(/outcome is unknown/)
  })
})
