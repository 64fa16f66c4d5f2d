import { describe, expect } from 'vitest'
import { checkpointsOf } from '../harness/berth-api.ts'
import type { EventCollector } from '../harness/event-collector.ts'
import { bash, tool } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { untilCallShipped, untilTurnSaved } from '../harness/shipped.ts'
import { story } from '../harness/story.ts'
import type { AgentParams, TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'

async function createSession(berth: TestBerth, lifecycle: Record<string, unknown>): Promise<string> {
  return (await berth.createSessionWith({ lifecycle })).id
}

/** What the newest model request for that prompt was told besides it. */
function toldIn(berth: TestBerth, prompt: string): string {
  return JSON.stringify(berth.modelCalls(prompt).findLast(({ step }) => step === 0)?.last_user)
}

describe('a hybrid session', () => {
  story('is put away when it is idle, and goes on with its files and its conversation', async ({ berth }) => {
    const id = await createSession(berth, { type: 'hybrid', idle_timeout: 0 })
    const work =
      'echo one > note; mkdir -p deep/er; ln -s ../note deep/link; echo two > ~/own; echo out > /mnt/session/outputs/o; echo gone > /tmp/t'
    await berth.runTurn(id, ['First', bash(work), '::next', '::text Done.'])
    for (const prompt of ['Second', 'Third']) {
      await berth.untilPutAway()
      const look = bash('cat note deep/link ~/own /mnt/session/outputs/o; ls deep /tmp')
      const turn = await berth.runTurn(id, [prompt, look, '::next', '::text {{prompt:1}}: {{result}}'])
      expect(messagesOf(turn)).toEqual(['First: one\none\ntwo\nout\n/tmp:\n\ndeep:\ner\nlink'])
      expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
      expect(ofType(turn, 'session.error')).toEqual([])
      expect(toldIn(berth, prompt)).toContain('put away while nothing happened')
    }
  })

  story('keeps its sandbox while it is spoken to, and shows no trace of checkpoints', async ({ berth }) => {
    const id = await createSession(berth, { type: 'hybrid', idle_timeout: 600, checkpoint_after: 0 })
    await berth.runTurn(id, ['First', bash('echo one > note'), '::next', '::text Done.'])
    const cli = await (await SessionSandbox.of(berth.traces, id)).cli()
    await waitUntil('a checkpoint is there', async () => (await checkpointsOf(berth, id)).length === 1)
    for (const turns of [2, 3]) {
      const turn = await berth.runTurn(id, ['Next', bash('cat note'), '::next', '::text {{result}} {{turns}}'])
      expect(messagesOf(turn)).toEqual([`one ${turns}`])
      await waitUntil('the turn has its checkpoint', async () => (await checkpointsOf(berth, id)).length === turns)
    }
    expect((await (await SessionSandbox.of(berth.traces, id)).cli()).pid).toBe(cli.pid)
    expect(await checkpointsOf(berth, id)).toMatchObject(Array.from({ length: 3 }, () => ({ cause: 'turn_over' })))
  })

  story(
    'whose sandbox is lost with its disk has the files of the last checkpoint, and is told so',
    async ({ berth }) => {
      const id = await createSession(berth, { type: 'hybrid', idle_timeout: 600, checkpoint_after: 0 })
      await berth.runTurn(id, ['First', bash('echo one > note'), '::next', '::text Done.'])
      await untilTurnSaved(berth.dir, id)
      const [{ created_at } = { created_at: '' }] = await checkpointsOf(berth, id)
      await using events = await berth.watch(id)
      await berth.send(id, [
        'Second',
        bash('echo two > late; sleep 600'),
        bash('cat note late'),
        '::next',
        '::text {{result:2}}',
      ])
      const sandbox = await SessionSandbox.of(berth.traces, id)
      await sandbox.made('/workspace/late')
      await untilCallShipped(berth.dir, id, 'sleep 600')
      await using driver = await berth.traces.openDriver()
      await driver.destroy(sandbox.ref.id)
      const turn = await events.turn()
      expect(ofType(turn, 'session.status_rescheduled')).toHaveLength(1)
      const told = JSON.stringify(berth.model.requests().map(({ last_user }) => last_user))
      expect(told).toContain(`files are as they were at ${created_at}`)
      const next = await berth.runTurn(id, ['Third', bash('cat note'), '::next', '::text {{result}}'])
      expect(messagesOf(next)).toEqual(['one'])
    },
  )
})

describe('processes that the agent left running', () => {
  story('hold the sandbox for as long as they may, and that they end is told', async ({ berth }) => {
    const background = { type: 'kill_after', seconds: 2 }
    const id = await createSession(berth, { type: 'hybrid', idle_timeout: 0, background })
    await using events = await berth.watch(id)
    const start = 'nohup sh -c "while :; do sleep 0.1; done" > /dev/null 2>&1 & sleep 0.2; kill -0 $! && echo runs'
    await berth.send(id, ['First', bash(start), '::next', '::text Started.'])
    expect(textOf(onlyOf(await events.turn(), 'agent.tool_result').content)).toContain('runs')
    await berth.untilPutAway()
    const ended = await events.until('their end is told', () =>
      events.events.find(({ type }: { type: string }) => type === 'berth.processes_ended'),
    )
    expect(ended).toMatchObject({ count: expect.any(Number) })
  })
})

/** Of the newest idle, when it asks for so many calls, none of them asked for before. */
function newCalls(events: EventCollector, before: readonly string[], count: number): readonly string[] | undefined {
  const reason = events.all('session.status_idle').at(-1)?.stop_reason
  if (reason?.type !== 'requires_action' || reason.event_ids.length !== count) return undefined
  return reason.event_ids.some((id) => before.includes(id)) ? undefined : reason.event_ids
}

describe('a session that waits for an answer', () => {
  const tools = [
    { type: 'agent_toolset_20260401' as const, configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] },
  ] satisfies AgentParams['tools']

  story.for([['hybrid'], ['ephemeral']])(
    'is put away after a while, and goes on in another sandbox: %s',
    async ([type], { berth }) => {
      const lifecycle = { type, approval_hold: 0, idle_timeout: 600 }
      const agent = await berth.createAgent({ tools })
      const { id } = await berth.createSessionWith({ lifecycle }, { agent: agent.id })
      await using events = await berth.watch(id)
      await berth.send(id, [
        'Ask',
        tool('Write', { file_path: '/workspace/base', content: 'base' }),
        '::next',
        bash('cat base; echo; echo first >> ran'),
        bash('cat ran; echo second >> ran'),
        '::next',
        bash('cat ran'),
        '::next',
        '::text {{result}}',
      ])
      const answered: string[] = []
      for (const expected of [2, 1]) {
        const calls = await events.until('it asks', () => newCalls(events, answered, expected))
        await berth.untilPutAway()
        expect((await berth.client.beta.sessions.retrieve(id)).status).toBe('idle')
        answered.push(...calls)
        const allow = { type: 'user.tool_confirmation' as const, result: 'allow' as const }
        const answers = calls.map((tool_use_id) => ({ ...allow, tool_use_id })).toReversed()
        await berth.client.beta.sessions.events.send(id, { events: answers })
      }
      await events.first('session.status_idle', { where: ({ stop_reason }) => stop_reason.type === 'end_turn' })
      expect(messagesOf(events.events)).toEqual(['first\nsecond'])
      expect(
        ofType(events.events, 'agent.tool_result')
          .map(({ content }) => textOf(content).trim())
          .slice(1),
      ).toEqual(['base', 'first', 'first\nsecond'])
      expect(ofType(events.events, 'session.error')).toEqual([])
      expect(JSON.stringify(berth.modelCalls('Ask').map(({ last_user }) => last_user))).toContain(
        'put away while the turn waited for an answer',
      )
    },
  )
})

describe('an ephemeral session', () => {
  story('loses its sandbox when the task is done; its outputs stay', async ({ berth }) => {
    const id = await createSession(berth, { type: 'ephemeral' })
    const work = 'echo report > /mnt/session/outputs/report.txt; echo scratch > scratch'
    await berth.runTurn(id, ['First', bash(work), '::next', '::text Done.'])
    await berth.untilPutAway()
    const answer = await berth.fetch(`/berth/v1/sessions/${id}/files/content?path=/mnt/session/outputs/report.txt`)
    expect(await answer.text()).toBe('report\n')
    const turn = await berth.runTurn(id, [
      'Second',
      bash('ls; cat /mnt/session/outputs/report.txt'),
      '::next',
      '::text {{result}}',
    ])
    expect(messagesOf(turn)).toEqual(['report'])
    expect(toldIn(berth, 'Second')).toContain('only those in /mnt/session/outputs')
  })
})

describe('a long_running session', () => {
  story('keeps its sandbox, and the processes in it', async ({ berth }) => {
    const id = await createSession(berth, { type: 'long_running', checkpoint_after: 0 })
    const start = 'nohup sh -c "while :; do sleep 0.1; done # left-running" > /dev/null 2>&1 & echo $! > pid'
    await berth.runTurn(id, ['First', bash(start), '::next', '::text Started.'])
    await waitUntil('a checkpoint is there', async () => (await checkpointsOf(berth, id)).length === 1)
    const turn = await berth.runTurn(id, [
      'Second',
      bash('kill -0 $(cat pid) && echo alive'),
      '::next',
      '::text {{result}}',
    ])
    expect(messagesOf(turn)).toEqual(['alive'])
  })
})
