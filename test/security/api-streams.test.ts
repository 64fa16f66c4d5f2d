/** Readers that do not read, too many of them, those that come back with odd words, and those whose key ends. */
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type Clock, systemClock } from '../../packages/server/src/domain/clock.ts'
import { serveApp, type TestServer } from '../../packages/server/test/serve-app.ts'
import { waitUntil } from '../harness/wait-until.ts'
import { BusySession } from './api/busy-session.ts'
import { Reader } from './api/reader.ts'
import { Tally } from './tally.ts'

const tally = new Tally('streams')
let server: TestServer
let away = 0
const clock: Clock = { now: () => new Date(systemClock.now().getTime() + away) }
beforeAll(async () => {
  server = await serveApp({}, { clock })
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  tally.end()
})

const made = z.object({ id: z.string(), key: z.string() })
async function makeKey(body: object): Promise<z.infer<typeof made>> {
  return made.parse(await (await server.fetch('/berth/v1/keys', { method: 'POST', body: JSON.stringify(body) })).json())
}

async function readers(count: number, path: string): Promise<Reader[]> {
  const opened: Reader[] = []
  while (opened.length < count) {
    const some = Array.from({ length: Math.min(50, count - opened.length) }, () => Reader.open(server, path))
    opened.push(...(await Promise.all(some)))
  }
  return opened
}

setFlagsFromString('--expose-gc')
const collectGarbage = z.custom<() => void>((value) => typeof value === 'function').parse(runInNewContext('gc'))

/** Bytes that somebody still holds: how much else there is depends on when it was last collected. */
function kept(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const idsOf = (reader: Reader): string[] => reader.seen.map(({ id }) => id)

test('a reader that stops reading is let go, and misses nothing when it comes back', async () => {
  const session = await BusySession.create(server)
  using stack = new DisposableStack()
  const stalled = (await readers(3, session.path)).map((reader) => stack.use(reader))
  for (const reader of stalled) reader.stall()
  await session.tell(1_800)
  const all = await session.ids()
  expect(all).toHaveLength(1_800)
  for (const reader of stalled) {
    await reader.readToEnd()
    const seen = idsOf(reader)
    // What two kernels hold of it, and no more.
    expect(reader.bytes).toBeLessThan(8_000_000)
    expect(seen).toEqual(all.slice(0, seen.length))
    using again = stack.use(await Reader.open(server, session.path, seen.at(-1)))
    await waitUntil('the rest was read', () => seen.length + again.seen.length >= all.length)
    tally.expectAll({ gap: [...seen, ...idsOf(again)] }, { gap: all })
  }
})

test('a reader that stops reading what it asked to have repeated costs a page of it', async () => {
  const session = await BusySession.create(server)
  await session.tell(800)
  const [first = ''] = await session.ids()
  const before = kept()
  using stack = new DisposableStack()
  for (let n = 0; n < 40; n++) stack.use(await Reader.open(server, session.path, first)).stall()
  await waitUntil('nobody takes any more', () => server.unsent().filter((bytes) => bytes > 0).length === 40)
  // Until nothing more is put into memory for them.
  for (let last = 0, now = kept(); now > last; now = kept()) {
    last = now
    await delay(250)
  }
  const each = (kept() - before) / 40 / 2 ** 20
  process.stdout.write(`a stalled replay of 7 MB: ${each.toFixed(2)} MiB\n`)
  tally.count(each < 4)
  expect(each).toBeLessThan(4)
})

test('an answer that nobody reads is not kept', async () => {
  await using own = await serveApp({ readWithinMs: 1_000 })
  const session = await BusySession.create(own)
  await session.tell(1_000)
  using reader = await Reader.open(own, `/v1/sessions/${session.id}/events?limit=1000`)
  reader.stall()
  await waitUntil('it is given up', async () => (await own.connections()) === 0)
  await reader.readToEnd()
  tally.count(reader.bytes < 8_000_000)
  expect(reader.bytes).toBeLessThan(8_000_000)
})

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

const EVENTS = 10

/** Milliseconds within which events have come to half of the readers, while another session tells a lot to its own. */
async function usualDelay(reading: readonly Reader[], quiet: BusySession, loud: BusySession): Promise<number> {
  const from = reading.map(({ seen }) => seen.length)
  const sent: number[] = []
  for (let n = 0; n < EVENTS; n++) {
    const flood = loud.tell(5)
    sent.push(performance.now())
    await quiet.tell(1, 'small')
    await flood
  }
  await waitUntil('all have seen all', () => reading.every(({ seen }, at) => seen.length === (from[at] ?? 0) + EVENTS))
  return median(
    reading.flatMap(({ seen }, at) => sent.map((time, n) => (seen[(from[at] ?? 0) + n]?.at ?? Infinity) - time)),
  )
}

test('50 stalled readers of 500 slow the others no more than 50 that read', async () => {
  const [quiet, loud] = [await BusySession.create(server), await BusySession.create(server)]
  using stack = new DisposableStack()
  const reading = (await readers(450, quiet.path)).map((reader) => stack.use(reader))
  // What else the machine does falls on both halves of a round, or on one round and not on all.
  const rounds: [usual: number, now: number][] = []
  for (let round = 0; round < 4; round++) {
    using others = new DisposableStack()
    const loudest = (await readers(50, loud.path)).map((reader) => others.use(reader))
    const usual = await usualDelay(reading, quiet, loud)
    for (const reader of loudest) reader.stall()
    rounds.push([usual, await usualDelay(reading, quiet, loud)])
  }
  const shown = rounds.map(([usual, now]) => `${usual.toFixed(0)} and ${now.toFixed(0)}`).join(', ')
  process.stdout.write(`450 readers, ms beside 50 that read and beside 50 stalled: ${shown}\n`)
  const isHeld = rounds.some(([usual, now]) => now < 2 * usual + 500)
  tally.count(isHeld)
  expect(isHeld).toBe(true)
})

test('200 readers that come back at once, from anywhere, each see the rest once and in order', async () => {
  const session = await BusySession.create(server)
  await session.tell(400, 'small')
  const places = Array.from({ length: 200 }, (_, n) => (n * 7919) % 400)
  const known = await session.ids()
  const telling = session.tell(100, 'small')
  using stack = new DisposableStack()
  const back = await Promise.all(places.map((at) => Reader.open(server, session.path, known[at])))
  for (const reader of back) stack.use(reader)
  await telling
  const all = await session.ids()
  await waitUntil('all have seen the last', () => back.every(({ seen }) => seen.at(-1)?.id === all.at(-1)))
  const wrong = back.filter(
    (reader, n) => JSON.stringify(idsOf(reader)) !== JSON.stringify(all.slice((places[n] ?? 0) + 1)),
  )
  for (const reader of back) tally.count(!wrong.includes(reader))
  expect(wrong).toHaveLength(0)
})

test('a place that is none is refused, never passed over', async () => {
  const [session, foreign] = [await BusySession.create(server), await BusySession.create(server)]
  await foreign.tell(1, 'small')
  const [other = ''] = await foreign.ids()
  const odd = [
    '-1',
    '0x1',
    '1e3',
    '99999999999999999999',
    'sevt_01ZZZZZZZZZZZZZZZZZZZZZZZZ',
    other,
    '%',
    "' OR 1=1 --",
    'x'.repeat(8_000),
  ]
  const found: Record<string, number> = {}
  for (const stream of [session.path, `/berth/v1/sessions/${session.id}/sdk_messages/stream`]) {
    for (const id of [...odd, '', '1', '999999999999999']) {
      const answer = await server.fetch(stream, { headers: { 'last-event-id': id } })
      found[`${stream} ${id}`] = answer.status
      await answer.body?.cancel()
    }
  }
  tally.expectAll(found, Object.fromEntries(Object.keys(found).map((name) => [name, 400])))
})

test('a stream ends with its key: revoked, expired, read or not', async () => {
  const session = await BusySession.create(server)
  const sdk = `/berth/v1/sessions/${session.id}/sdk_messages/stream`
  const revoked = await makeKey({ name: 'revoked' })
  const expires_at = new Date(clock.now().getTime() + 3_600_000).toISOString()
  const expiring = await makeKey({ name: 'expiring', scope: 'read', expires_at })
  const open = (key: string, path: string) => Reader.open({ port: server.port, key }, path)
  using stack = new DisposableStack()
  const kept = stack.use(await Reader.open(server, session.path))
  const keys = [revoked.key, expiring.key]
  const ending = await Promise.all(
    keys.flatMap((key) => [open(key, session.path), open(key, session.path), open(key, sdk)]),
  )
  for (const reader of ending) stack.use(reader)
  // One of each key is so far behind that nothing more is written to it.
  const stalled = ending.filter((_, n) => n % 3 === 0)
  for (const reader of stalled) reader.stall()
  await session.tell(500)
  const began = performance.now()
  await server.fetch(`/berth/v1/keys/${revoked.id}/revoke`, { method: 'POST' })
  away += 3_600_000
  await Promise.all(ending.map((reader) => reader.readToEnd()))
  const took = performance.now() - began
  process.stdout.write(`streams ended ${(took / 1000).toFixed(1)} s after their keys\n`)
  for (const _ of ending) tally.count(took < 5_000)
  expect(took).toBeLessThan(5_000)
  await session.tell(1)
  const [last] = (await session.ids()).slice(-1)
  await waitUntil('the other goes on', () => kept.seen.at(-1)?.id === last)
})
