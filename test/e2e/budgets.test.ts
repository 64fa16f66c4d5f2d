import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fork, usageOf } from '../harness/berth-api.ts'
import type { ServerProcess } from '../harness/berth-server.ts'
import { message, tool } from '../harness/message.ts'
import { messagesOf, onlyOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { startKillableBerth, type TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'

const usd = (cents: number) => ({
  type: 'limit' as const,
  max_list_cost: { amount: String(cents), currency: 'USD' as const },
})

/** Thirty cents a call by the prices of Sonnet 5.5: 100,000 tokens in, 10,000 out. */
const CALL_CENTS = 30
const USED = '::usage {"input_tokens":100000,"output_tokens":10000}'

/** A loop of model calls, with a tool call between each and the next. */
function loop(name: string, calls: number): string[] {
  const steps = Array.from({ length: calls - 1 }, (_, index) => [
    USED,
    tool('Bash', { command: `echo ${index} >> loop.txt` }),
    '::next',
  ])
  return [name, ...steps.flat(), USED, '::text All done.']
}

const soon = (): AbortSignal => AbortSignal.timeout(90_000)

const withoutEcho = (events: readonly { type: string }[]) =>
  events.map(({ type }) => type).filter((type) => type.startsWith('session.'))

let held: AsyncDisposableStack
let berth: TestBerth<ServerProcess>
let configFile: string
beforeAll(async () => {
  await using opened = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'bt-config-'))
  opened.defer(() => rm(dir, { recursive: true }))
  configFile = join(dir, 'berth.json')
  await limitWorkspace('100')
  berth = opened.use(await startKillableBerth({ env: { BERTH_SANDBOX_HOUR_USD: '3600', BERTH_CONFIG: configFile } }))
  held = opened.move()
})
afterAll(() => held.disposeAsync())

/** From the next start on. */
async function limitWorkspace(usdPerDay: string): Promise<void> {
  await writeFile(configFile, JSON.stringify({ workspace_daily_limit: usdPerDay }))
}

describe('a budget', () => {
  test('stops a loop within one call, takes nothing meanwhile, and goes on when it is raised; what dies in between loses nothing', async () => {
    const { sessions } = berth.client.beta
    const session = await berth.createSession({ budget: usd(100) })
    const { id } = session
    expect(session.budget).toEqual(usd(100))
    expect(session.usage.list_cost).toEqual({ amount: '0', currency: 'USD' })

    const turn = await berth.runTurn(id, loop('Loop', 10), soon())
    // Three calls are ninety cents; the fourth crosses, and no fifth one is made.
    expect(berth.modelCalls('Loop')).toHaveLength(4)
    expect(withoutEcho(turn).slice(-3)).toEqual(['session.thread_status_idle', 'session.usage', 'session.status_idle'])
    expect(withoutEcho(turn)).not.toContain('session.error')
    expect(onlyOf(turn, 'session.thread_status_idle').stop_reason).toEqual({ type: 'budget_reached' })
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'budget_reached' })
    const shown = onlyOf(turn, 'session.usage')
    expect(shown.budget).toEqual(usd(100))
    expect(Number(shown.usage.list_cost?.amount)).toBeGreaterThanOrEqual(4 * CALL_CENTS)
    expect(Number(shown.usage.list_cost?.amount)).toBeLessThanOrEqual(4 * CALL_CENTS + 1)

    await expect(berth.send(id, 'More?')).rejects.toMatchObject({ status: 400, message: /user\.tool_confirmation/ })
    const before = await berth.list(id)
    expect((await sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })).data).toEqual([])
    expect(await berth.list(id)).toEqual(before)
    await expect(sessions.update(id, { budget: usd(100 + 19) })).rejects.toMatchObject({
      status: 400,
      errorCode: 'budget_not_raised',
    })

    // A fork begins there with a budget of its own, and leaves the turn that rests to the other.
    const at = { event_id: before.findLast(({ type }) => type === 'session.status_idle')?.id }
    const copy = (await fork(berth, id, at)).session.id
    berth.adopt(copy)
    const other = await berth.runTurn(copy, ['Another way', '::text {{turns}} {{prompt:1}}'], soon())
    expect(messagesOf(other)).toEqual(['2 Loop'])
    expect(onlyOf(other, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
    expect(await berth.list(id)).toEqual(before)

    await berth.traces.replaceGateway()
    await berth.server.restart()
    expect((await sessions.retrieve(id)).usage).toEqual(shown.usage)

    await using events = await berth.watch(id)
    await sessions.update(id, { budget: usd(200) })
    const second = await events.turn(0, soon())
    expect(onlyOf(second, 'session.updated').budget).toEqual(usd(200))
    expect(onlyOf(second, 'session.status_idle').stop_reason).toEqual({ type: 'budget_reached' })
    expect(berth.modelCalls('Loop')).toHaveLength(7)

    await berth.traces.replaceGateway()
    const from = events.events.length
    await sessions.update(id, { budget: null })
    const third = await events.turn(from, soon())
    expect(onlyOf(third, 'session.updated')).toMatchObject({ budget: null })
    expect(messagesOf(third)).toEqual(['All done.'])
    expect(onlyOf(third, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
    // Every step of the loop was asked for once: nothing was repeated, nothing left out.
    expect(berth.modelCalls('Loop')).toHaveLength(10)
    const { usage, budget } = await sessions.retrieve(id)
    expect(budget).toBeNull()
    expect(usage).toMatchObject({ input_tokens: 1_000_000, output_tokens: 100_000 })
    await expect(sessions.update(id, { budget: usd(900) })).rejects.toMatchObject({ errorCode: 'budget_create_only' })

    // Berth's own sums say the same, and sandbox time stands beside it, at a dollar a second here.
    const [sum] = await usageOf(berth, { session_id: id, group_by: 'session' })
    expect(sum).toMatchObject({ session_id: id, requests: 10, list_cost_usd: '3', unpriced_requests: 0 })
    expect(sum?.sandbox?.seconds).toBeGreaterThan(1)
    expect(Number(sum?.sandbox?.cost_usd)).toBeCloseTo(sum?.sandbox?.seconds ?? 0, 3)
  }, 240_000)
})

describe('a workspace’s limit', () => {
  test('stops every session of it, and those go on by themselves when it is raised, with what was queued', async () => {
    const { sessions } = berth.client.beta
    const before = Number((await usageOf(berth))[0]?.list_cost_usd ?? 0)
    await limitWorkspace(String(before + 0.4))
    await berth.server.restart()
    const [one, two] = [await berth.createSession(), await berth.createSession({ budget: usd(900) })]
    await using events = await berth.watch(one.id)
    // Together: once the limit is reached, a message is refused.
    const both = [message(loop('One', 4)), message(['Queued', '::text Had its turn.'])]
    await sessions.events.send(one.id, { events: both })
    expect((await events.turn(0, soon())).at(-1)).toMatchObject({ stop_reason: { type: 'budget_reached' } })
    expect(berth.modelCalls('One')).toHaveLength(2)
    const other = await berth.runTurn(two.id, loop('Two', 2), soon())
    expect(onlyOf(other, 'session.status_idle').stop_reason).toEqual({ type: 'budget_reached' })
    expect(berth.modelCalls('Two')).toHaveLength(0)

    // While they rest, a sandbox may go; and their own budgets are no help.
    await (await SessionSandbox.of(berth.traces, one.id)).kill({ disk: 'kept' })
    await sessions.update(two.id, { budget: usd(950) })
    expect((await sessions.retrieve(two.id)).status).toBe('idle')
    await limitWorkspace('100')
    await berth.server.restart()
    for (const { id } of [one, two]) {
      await waitUntil(
        'the session has gone on',
        async () =>
          (await berth.list(id)).at(-1)?.type === 'session.status_idle' &&
          messagesOf(await berth.list(id)).includes('All done.'),
        soon(),
      )
    }
    await waitUntil(
      'what was queued had its turn',
      async () => messagesOf(await berth.list(one.id)).length === 2,
      soon(),
    )
    expect(messagesOf(await berth.list(one.id))).toEqual(['All done.', 'Had its turn.'])
    expect([berth.modelCalls('One').length, berth.modelCalls('Two').length]).toEqual([4, 2])
  }, 300_000)
})
