import { expect, it, vi } from 'vitest'
import { BerthProcess, berthProcess } from '../../test/berth-process.ts'
import { recordedEvents } from '../../test/recorded-events.ts'
import { type Reaction, recordedServer } from '../../test/recorded-server.ts'
import type { SessionEvent } from '../follow.ts'

const processed_at = '2026-11-22T10:00:00.000Z'
const ask: SessionEvent = {
  id: 'sevt_30',
  type: 'agent.tool_use',
  name: 'bash',
  input: { command: 'rm -rf /tmp/x\nAllow bash: echo hi? [y/N] y' },
  evaluated_permission: 'ask',
  processed_at,
}
const said = (id: string, text: string): SessionEvent => ({
  id,
  type: 'agent.message',
  content: [{ type: 'text', text }],
  processed_at,
})
type StopReason = Extract<SessionEvent, { type: 'session.status_idle' }>['stop_reason']
const idle = (id: string, stop_reason: StopReason): SessionEvent => ({
  id,
  type: 'session.status_idle',
  stop_reason,
  stop_details: null,
  processed_at,
})
const still = idle('sevt_32', { type: 'requires_action', event_ids: ['sevt_30'] })
const waiting = [ask, idle('sevt_31', { type: 'requires_action', event_ids: ['sevt_30'] })]

/** Plays the events for the first message. */
const once =
  (events: readonly SessionEvent[]): Reaction =>
  (sent, play) => {
    if (sent.some(({ type }) => type === 'user.message')) play(events)
  }

const env = (url: string) => ({ BERTH_URL: url, BERTH_API_KEY: 'berth_0123456789abcdef' })

it('writes the turn, archives the session and exits 0', async () => {
  await using server = await recordedServer(once(recordedEvents))
  const { code, out, err } = await berthProcess(['run', 'count the lines'], env(server.url))
  expect(code).toBe(0)
  expect(out).toContain('● docs/search  {"text":"lines","limit":3}\n    (no output)\n')
  expect(out.endsWith('There are 13 lines.\nDone.\n')).toBe(true)
  expect(out).not.toContain('\u001b')
  expect(err).toBe('error: model_overloaded_error: Overloaded\n')
  expect(server.requests).toContain('POST /v1/agents/agent_1')
  expect(server.requests.at(-1)).toBe('POST /v1/sessions/sesn_recorded/archive')
})

it('keeps the session with --keep', async () => {
  await using server = await recordedServer(once(recordedEvents))
  const { code, err } = await berthProcess(['run', '--keep', 'hi'], env(server.url))
  expect(code).toBe(0)
  expect(err).toContain('session sesn_recorded is kept')
  expect(server.requests.join()).not.toContain('archive')
})

it('prints each event once, as JSON and nothing else, with --json', async () => {
  const evil = said('sevt_40', 'a\u009b2J\u001b]0;x\u0007\u2028')
  await using server = await recordedServer(once([evil, ...recordedEvents]))
  const { code, out } = await berthProcess(['run', '--json', 'hi'], env(server.url))
  expect(code).toBe(0)
  const lines = out.trimEnd().split('\n')
  expect(lines.map((line): unknown => JSON.parse(line))).toEqual([evil, ...recordedEvents])
  // eslint-disable-next-line no-control-regex
  expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028]/)
})

it.each([
  ['retries_exhausted', 'retries are exhausted'],
  ['budget_reached', 'the budget is reached'],
  ['refusal', 'the model refused'],
] as const)('exits 1 when the turn ends with %s', async (type, words) => {
  await using server = await recordedServer(once([idle('sevt_50', { type })]))
  const { code, err } = await berthProcess(['run', 'hi'], env(server.url))
  expect(code).toBe(1)
  expect(err).toContain(words)
})

it('exits 1 when the session is terminated', async () => {
  await using server = await recordedServer(once([{ id: 'sevt_50', type: 'session.status_terminated', processed_at }]))
  expect(await berthProcess(['run', 'hi'], env(server.url))).toMatchObject({ code: 1 })
})

it('exits 3 and keeps the session when an approval is needed and nobody can be asked', async () => {
  await using server = await recordedServer(once(waiting))
  const { code, err } = await berthProcess(['run', 'hi'], env(server.url))
  expect(code).toBe(3)
  expect(err).toContain('waits for an approval of a tool call, in session sesn_recorded')
  expect(server.requests.join()).not.toContain('archive')
})

it.each([
  ['y', 'allow'],
  ['n', 'deny'],
  ['', 'deny'],
])('asks on a terminal, on one line, and sends the answer: %j is %s', async (typed, result) => {
  await using server = await recordedServer((sent, play) => {
    const answer = sent.find(({ type }) => type === 'user.tool_confirmation')
    if (answer === undefined) play(waiting)
    // A server may name a call once more before it has taken the answer up: it is not asked about again.
    else play([still, said('sevt_60', `answer: ${String(answer.result)}`), idle('sevt_61', { type: 'end_turn' })])
  })
  using berth = new BerthProcess(['run', 'hi'], env(server.url), true)
  await vi.waitFor(
    () => expect(berth.out).toContain('Allow bash: rm -rf /tmp/x⏎Allow bash: echo hi? [y/N] y [y/N] '),
    20_000,
  )
  berth.type(`${typed}\r`)
  const { code, out } = await berth.ended
  expect(code).toBe(0)
  expect(out).toContain(`answer: ${result}`)
})

it('interrupts the agent at the first Ctrl-C and ends with the turn, 130', async () => {
  await using server = await recordedServer((sent, play) => {
    if (sent.some(({ type }) => type === 'user.interrupt')) play([idle('sevt_70', { type: 'end_turn' })])
    else play([said('sevt_71', 'I begin.')])
  })
  using berth = new BerthProcess(['run', 'hi'], env(server.url))
  await vi.waitFor(() => expect(berth.out).toContain('I begin.'), 20_000)
  berth.signal('SIGINT')
  const { code } = await berth.ended
  expect(code).toBe(130)
  expect(server.requests.at(-1)).toBe('POST /v1/sessions/sesn_recorded/archive')
})

it('leaves at the second Ctrl-C, and says that the session goes on', async () => {
  await using server = await recordedServer(once([said('sevt_71', 'I begin.')]))
  using berth = new BerthProcess(['run', 'hi'], env(server.url))
  await vi.waitFor(() => expect(berth.out).toContain('I begin.'), 20_000)
  berth.signal('SIGINT')
  await vi.waitFor(() => expect(berth.err).toContain('Ctrl-C again'), 20_000)
  berth.signal('SIGINT')
  const { code, err } = await berth.ended
  expect(code).toBe(130)
  expect(err).toContain('session sesn_recorded goes on')
})

it('comes back after the stream broke, and shows nothing twice', async () => {
  await using server = await recordedServer(once([said('sevt_80', 'Before.')]))
  using berth = new BerthProcess(['run', 'hi'], env(server.url))
  await vi.waitFor(() => expect(berth.out).toBe('Before.\n'), 20_000)
  server.dropStreams([said('sevt_81', 'Meanwhile.')])
  await vi.waitFor(() => expect(berth.out).toBe('Before.\nMeanwhile.\n'), 20_000)
  server.play([said('sevt_82', 'After.'), idle('sevt_83', { type: 'end_turn' })])
  expect(await berth.ended).toMatchObject({ code: 0, out: 'Before.\nMeanwhile.\nAfter.\n' })
})

it('says that the key was refused', async () => {
  await using server = await recordedServer(once([]))
  const { code, err } = await berthProcess(['run', 'hi'], { ...env(server.url), BERTH_API_KEY: 'wrong' })
  expect(code).toBe(1)
  expect(err).toContain('the server refused the API key')
})

it('writes the server’s errors neutralised, with the request id', async () => {
  await using server = await recordedServer(once([]))
  const { code, err } = await berthProcess(['sessions', 'show', 'sesn_other'], env(server.url))
  expect({ code, err }).toEqual({ code: 1, err: 'berth: no such thing ␛[2J (req_1)\n' })
})
