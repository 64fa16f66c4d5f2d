/** An agent has the same uid as its own CLI, and can stop it: silence that looks like work. It gains nothing by that. */
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { contentPath } from '../harness/berth-api.ts'
import { bash } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { startTestBerth, type TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'
import { Tally } from './tally.ts'

let berth: TestBerth
const tally = new Tally('standing still')
beforeAll(async () => {
  berth = await startTestBerth()
})
afterAll(async () => {
  await using _berth = berth
  tally.end()
})

/** Three at a time, on a machine that may have other things to do. */
const TIMEOUT_MS = 150_000
const soon = (): AbortSignal => AbortSignal.timeout(TIMEOUT_MS - 20_000)

const once = (command: string): string => bash(`[ -e once ] || { touch once; ${command}; }`)
const wanted = { told: expect.stringContaining('stopped'), said: ['Went on.'], status: 'idle' }

test.concurrent(
  'one that stops its process in the middle of a turn is found, and goes on',
  async () => {
    const { id } = await berth.createSession()
    const turn = await berth.runTurn(
      id,
      ['Stop', once('kill -STOP $PPID; sleep 5'), '::next', '::text Went on.'],
      soon(),
    )
    const found = { told: onlyOf(turn, 'session.error').error.message, said: messagesOf(turn) }
    tally.expectAll({ ...found, status: (await berth.client.beta.sessions.retrieve(id)).status }, wanted)
  },
  TIMEOUT_MS,
)

test.concurrent(
  'one that stops all it can between turns is found when the next message comes',
  async () => {
    const { id } = await berth.createSession()
    await berth.runTurn(
      id,
      ['Stop', bash('(while [ ! -e over ]; do sleep 0.1; done; kill -STOP -1) & true'), '::next', '::text Now.'],
      soon(),
    )
    const sandbox = await SessionSandbox.of(berth.traces, id)
    const { pid } = await sandbox.cli()
    expect((await berth.fetch(contentPath(id, 'over'), { method: 'PUT', body: '' })).status).toBe(200)
    await waitUntil('it is stopped', async () => /^State:\tT/m.test(await readFile(`/proc/${pid}/status`, 'utf8')))
    const turn = await berth.runTurn(id, ['Next', '::text Went on.'], soon())
    const found = { told: onlyOf(turn, 'session.error').error.message, said: messagesOf(turn) }
    tally.expectAll({ ...found, status: (await berth.client.beta.sessions.retrieve(id)).status }, wanted)
  },
  TIMEOUT_MS,
)

test.concurrent(
  'one that stands still is ended by an interrupt, and can be deleted',
  async () => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.send(id, ['Stop', bash('touch here; kill -STOP $PPID; sleep 300'), '::next', '::text Never.'])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    await sandbox.program('sleep')
    await berth.client.beta.sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })
    const turn = await events.turn(0, soon())
    const reason = onlyOf(turn, 'session.status_idle').stop_reason
    tally.expectAll(
      { reason, errors: ofType(turn, 'session.error').length, said: messagesOf(turn) },
      { reason: { type: 'end_turn' }, errors: 0, said: [] },
    )
    await waitUntil('nothing of it runs', async () =>
      (await sandbox.processes()).every(({ args }) => args[0] !== 'sleep'),
    )
    await berth.client.beta.sessions.delete(id)
  },
  TIMEOUT_MS,
)
