import { readCgroups } from '@berth/sandbox/oci/cgroup'
import { describe, expect } from 'vitest'
import type { StreamEvent } from '../../harness/event-collector.ts'
import { message, tool } from '../../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../../harness/reading.ts'
import { SessionSandbox } from '../../harness/session-sandbox.ts'
import { story } from '../../harness/story.ts'
import type { TestBerth } from '../../harness/test-berth.ts'

interface Resources {
  readonly memory_mib?: number
  readonly disk_mib?: number
  readonly pids?: number
}

async function sessionWith(berth: TestBerth, resources: Resources): Promise<string> {
  return (await berth.createSessionWith({ resources })).id
}

const bash = (command: string, timeout = 20_000): string => tool('Bash', { command, timeout })
const resultsOf = (turn: readonly StreamEvent[]): string[] =>
  ofType(turn, 'agent.tool_result').map(({ content }) => textOf(content))
const endOf = (turn: readonly StreamEvent[]) => onlyOf(turn, 'session.status_idle').stop_reason

describe('a tool that takes more than its sandbox has', () => {
  story('of memory is ended by itself, in a sandbox that is large enough for its CLI', async ({ berth }) => {
    const id = await sessionWith(berth, { memory_mib: 512 })
    const hog = bash('head -c 2000000000 /dev/zero | tail -n 1 | wc -c; echo "ended with ${PIPESTATUS[1]}"')
    await using events = await berth.watch(id)
    await berth.send(id, ['Take memory', hog, '::next', '::text Went on.'])
    const turn = await events.turn()
    expect(messagesOf(turn)).toEqual(['Went on.'])
    // With version 2 of cgroups the kernel ends the sandbox as a whole.
    if ((await readCgroups()).version === 'v2') return
    expect(resultsOf(turn)).toEqual(['0\nended with 137'])
  })

  story('of memory in the smallest sandbox: whatever is ended for it, it is said', async ({ berth }) => {
    const id = await sessionWith(berth, { memory_mib: 256 })
    const hog = 'head -c 20000000 /dev/zero | tail -n 1 | (sleep 1; wc -c) &'
    await using events = await berth.watch(id)
    const hogs = Array.from({ length: 20 }, () => hog).join(' ')
    await berth.send(id, ['Take memory', bash(`${hogs} wait`), '::next', '::text Went on.'])
    const turn = await events.turn()
    // The kernel chooses: a hog, the CLI, or the runner and so the sandbox. What is lost is told, and the turn goes on.
    for (const { error } of ofType(turn, 'session.error')) expect(error.message).toMatch(/SIGKILL|sandbox was lost/)
    expect(endOf(turn)).toEqual({ type: 'end_turn' })
    expect(messagesOf(turn)).toEqual(['Went on.'])
    expect(messagesOf(await berth.runTurn(id, ['And now', '::text {{prompt:1}}']))).toEqual(['Take memory'])
  })

  story('of processes harms nobody else, and the session still answers', async ({ berth }) => {
    const id = await sessionWith(berth, { pids: 128 })
    const other = await berth.createSession()
    await berth.runTurn(other.id, ['Live', '::text Alive.'])
    const bomb = bash('bomb() { bomb | bomb & }; bomb; echo lit', 5_000)
    await using events = await berth.watch(id)
    await berth.send(id, ['Fork', bomb, '::next', '::text Went on.'])
    await events.first('agent.tool_use')
    expect(messagesOf(await berth.runTurn(other.id, ['And now', '::text Alive.']))).toEqual(['Alive.'])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    expect((await sandbox.processes()).length).toBeLessThanOrEqual(128)
    // A CLI that cannot start a thread ends; with its end everything that it left running is ended, and it is started again.
    for (const turn of [await events.turn(), await berth.runTurn(id, ['And now', '::text Here.'])]) {
      for (const { error } of ofType(turn, 'session.error')) expect(error.message).toContain('the agent process')
      expect(endOf(turn)).toEqual({ type: 'end_turn' })
    }
  })

  story('of disk is told that it is full, and can make room', async ({ berth }) => {
    const id = await sessionWith(berth, { disk_mib: 256 })
    const fill = bash('head -c 600000000 /dev/zero > big; echo "ended with $?"')
    const turn = await berth.runTurn(id, ['Fill', fill, '::next', '::text Full.'])
    // Of the command, or of the CLI, which has no room for what the command says.
    expect(resultsOf(turn)[0]).toMatch(/No space left on device/)
    expect(messagesOf(turn)).toEqual(['Full.'])
    const next = await berth.runTurn(id, [
      'Empty',
      bash('rm big && echo x > small && cat small'),
      '::next',
      '::text {{prompt:1}} {{result}}',
    ])
    expect(messagesOf(next)).toEqual(['Fill x'])
  })
})

describe('what is large', () => {
  story(
    'as the output of a tool reaches the client as its beginning and a place to find the rest',
    async ({ berth }) => {
      const { id } = await berth.createSession()
      const outputs = [
        'yes | head -c 200000000',
        String.raw`head -c 20000000 /dev/zero | tr '\0' x`,
        'seq 10000',
        'head -c 3000000 /dev/urandom',
      ]
      const turn = await berth.runTurn(id, [
        'Print',
        ...outputs.flatMap((command) => [bash(command), '::next']),
        '::text Done.',
      ])
      const results = resultsOf(turn)
      expect(results).toHaveLength(outputs.length)
      for (const text of results) {
        expect(text.length).toBeLessThan(10_000)
        expect(text).toMatch(/saved to/)
      }
      expect(messagesOf(turn)).toEqual(['Done.'])
      expect(await berth.list(id)).toHaveLength(new Set(turn.map((event) => ('id' in event ? event.id : ''))).size)
    },
  )

  story('as an answer or a question arrives whole', async ({ berth }) => {
    const { id } = await berth.createSession()
    const turn = await berth.runTurn(id, ['Say much', '::chunks 5', '::repeat 500000 word'])
    expect(messagesOf(turn).map((text) => text.length)).toEqual([2_499_999])
    const listed = (await berth.list(id)).filter(({ type }) => type === 'agent.message')
    expect(JSON.stringify(listed).length).toBeGreaterThan(2_499_999)
    const question = message({
      blocks: [
        { type: 'text', text: 'x'.repeat(4_000_000) },
        { type: 'text', text: '\n::text {{turns}}' },
      ],
    })
    await using events = await berth.watch(id)
    await berth.client.beta.sessions.events.send(id, { events: [question] })
    const answered = await events.turn()
    expect(endOf(answered)).toBeDefined()
    expect(messagesOf(await berth.runTurn(id, ['And now', '::text Here.']))).toEqual(['Here.'])
  })
})
