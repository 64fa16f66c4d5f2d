import { describe, expect } from 'vitest'
import { tool } from '../../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../../harness/reading.ts'
import { SessionSandbox } from '../../harness/session-sandbox.ts'
import { story } from '../../harness/story.ts'

const busy = 'while :; do sleep 0.05; done'

describe('a CLI that is killed', () => {
  story(
    'in the middle of an answer: the turn ends with an error that says so, and the conversation goes on',
    async ({ berth }) => {
      const { id } = await berth.createSession()
      await using events = await berth.watch(id, { event_deltas: ['agent.message'] })
      await berth.send(id, ['First', '::slow 50', '::chunks 200', `::repeat 200 word`])
      await events.first('event_delta')
      const sandbox = await SessionSandbox.of(berth.traces, id)
      process.kill((await sandbox.cli()).pid, 'SIGKILL')
      const turn = await events.turn()
      expect(onlyOf(turn, 'session.error').error).toMatchObject({
        type: 'unknown_error',
        retry_status: { type: 'exhausted' },
        message: expect.stringContaining('SIGKILL'),
      })
      expect(onlyOf(turn, 'span.model_request_end').is_error).toBe(true)
      expect(messagesOf(turn)).toEqual([])
      expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'retries_exhausted' })
      const next = await berth.runTurn(id, ['Second', '::text {{prompt:1}}'])
      expect(messagesOf(next)).toEqual(['First'])
    },
  )

  story(
    'in the middle of a tool: its outcome is said to be unknown, and nothing of it is left running',
    async ({ berth }) => {
      const { id } = await berth.createSession()
      await using events = await berth.watch(id)
      await berth.send(id, ['First', tool('Bash', { command: `echo x >> /workspace/effects; ${busy} # kept-running` })])
      const sandbox = await SessionSandbox.of(berth.traces, id)
      await sandbox.tool('kept-running')
      const cli = await sandbox.cli()
      process.kill(cli.pid, 'SIGKILL')
      const turn = await events.turn()
      const call = onlyOf(turn, 'agent.tool_use')
      const result = onlyOf(turn, 'agent.tool_result')
      expect(result).toMatchObject({ tool_use_id: call.id, is_error: true })
      expect(textOf(result.content)).toContain('unknown')
      expect(onlyOf(turn, 'session.error').error.message).toContain('SIGKILL')
      const left = (await sandbox.processes()).flatMap(({ args }) => args)
      expect(left.filter((arg) => arg.includes('kept-running'))).toEqual([])
      const next = await berth.runTurn(id, [
        'Second',
        tool('Bash', { command: 'cat /workspace/effects' }),
        '::next',
        '::text {{result}}',
      ])
      expect(messagesOf(next)).toEqual(['x'])
      expect((await sandbox.cli()).pid).not.toBe(cli.pid)
    },
  )

  story('while nothing runs: the session says so, and the next message starts another', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, 'First')
    const sandbox = await SessionSandbox.of(berth.traces, id)
    const cli = await sandbox.cli()
    await using events = await berth.watch(id)
    process.kill(cli.pid, 'SIGKILL')
    await events.first('session.error')
    expect((await berth.client.beta.sessions.retrieve(id)).status).toBe('idle')
    const next = await berth.runTurn(id, ['Second', '::text {{prompt:1}}'])
    expect(messagesOf(next)).toEqual(['First'])
    expect((await sandbox.cli()).pid).not.toBe(cli.pid)
  })

  story.skip(
    'just as a message comes: the message is answered, or the session says that it was not',
    async ({ berth }) => {
      const { id } = await berth.createSession()
      await berth.runTurn(id, 'First')
      const sandbox = await SessionSandbox.of(berth.traces, id)
      process.kill((await sandbox.cli()).pid, 'SIGKILL')
      const turn = await berth.runTurn(id, ['Second', '::text Answered.'])
      if (messagesOf(turn).length > 0) expect(messagesOf(turn)).toEqual(['Answered.'])
      else {
        expect(ofType(turn, 'session.error')[0]?.error.message).toContain('SIGKILL')
        expect(turn.at(-1)).toMatchObject({ stop_reason: { type: 'retries_exhausted' } })
      }
      expect(messagesOf(await berth.runTurn(id, ['Third', '::text Here.']))).toEqual(['Here.'])
    },
  )
})

describe('an agent that kills all it can', () => {
  story('ends its own CLI and nothing more', async ({ berth }) => {
    const { id } = await berth.createSession()
    const turn = await berth.runTurn(id, ['Kill', tool('Bash', { command: 'kill -9 -1' })])
    expect(onlyOf(turn, 'session.error').error.message).toContain('SIGKILL')
    expect(onlyOf(turn, 'agent.tool_result').is_error).toBe(true)
    expect(messagesOf(await berth.runTurn(id, ['And now', '::text {{prompt:1}}']))).toEqual(['Kill'])
  })
})

describe('an agent that breaks what its CLI needs', () => {
  story('is told why the CLI cannot start, each time anew, and at once', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['Break', tool('Bash', { command: 'chmod 000 /workspace' })])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await using events = await berth.watch(id)
    process.kill((await sandbox.cli()).pid, 'SIGKILL')
    await events.first('session.error')
    for (const prompt of ['One', 'Two']) {
      const turn = await berth.runTurn(id, prompt)
      const { error } = onlyOf(turn, 'session.error')
      expect(error.message).toMatch(/could not start.*workspace/)
      expect(error.retry_status).toEqual({ type: 'exhausted' })
      expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'retries_exhausted' })
    }
  })
})

describe('a sandbox that is destroyed', () => {
  story('under a running turn ends the session with an error that says so', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.send(id, ['First', tool('Bash', { command: `${busy} # kept-running` })])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await sandbox.tool('kept-running')
    process.kill(await sandbox.shimPid(), 'SIGKILL')
    await events.finished()
    expect(onlyOf(events.events, 'session.error').error).toMatchObject({ retry_status: { type: 'terminal' } })
    expect(onlyOf(events.events, 'agent.tool_result')).toMatchObject({ is_error: true })
    expect(events.events.at(-1)?.type).toBe('session.status_terminated')
    expect((await berth.client.beta.sessions.retrieve(id)).status).toBe('terminated')
    await expect(berth.send(id, 'More')).rejects.toMatchObject({ status: 400, type: 'invalid_request_error' })
  })
})
