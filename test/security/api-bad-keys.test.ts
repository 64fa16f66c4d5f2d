/** Somebody tries keys, from one address and from many: they are held up, nobody else is. */
import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { errorEnvelope } from '@berth/protocol/api/error'
import { newKey } from '@berth/server'
import { serveApp, type TestServer } from '../../packages/server/test/serve-app.ts'
import { say } from './api/raw.ts'
import { Tally } from './tally.ts'

const tally = new Tally('bad keys')
const TRIED = 10_000
const AT_ONCE = 10
/** That a source has before it is held up. */
const BURST = 10

let server: TestServer
/** It stands still: nobody gets another attempt but by it. */
let now = Date.now()
beforeAll(async () => {
  server = await serveApp({}, { clock: { now: () => new Date(now) } })
  // A good key that was not seen before is taken for an attempt until it has been looked at.
  expect((await server.fetch('/v1/agents')).status).toBe(200)
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  tally.end()
})

/** Tries so many over one connection, without waiting for answers; tells how often each status came. */
async function tryKeys(localAddress: string): Promise<Record<string, number>> {
  const socket = connect({ port: server.port, host: '127.0.0.1', localAddress })
  let text = ''
  socket.setEncoding('latin1').on('data', (data: string) => (text += data))
  const closed = new Promise<void>((resolve) => socket.on('error', () => undefined).once('close', () => resolve()))
  const ask = (n: number) =>
    `GET /v1/agents HTTP/1.1\r\nHost: localhost\r\nx-api-key: ${newKey().key}\r\n${n === AT_ONCE - 1 ? 'Connection: close\r\n' : ''}\r\n`
  socket.write(Array.from({ length: AT_ONCE }, (_, n) => ask(n)).join(''))
  await closed
  return sum([...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status = '']) => ({ [status]: 1 })))
}

/** The same from each of these addresses in turn, some at a time. */
async function flood(addresses: readonly string[]): Promise<Record<string, number>[]> {
  const found: Record<string, number>[] = []
  for (let at = 0; at < addresses.length; at += 20)
    found.push(...(await Promise.all(addresses.slice(at, at + 20).map(tryKeys))))
  return found
}

function sum(all: readonly Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const each of all) for (const [status, n] of Object.entries(each)) total[status] = (total[status] ?? 0) + n
  return total
}

/** Asks with a good key, from the first source, until the work is done; answers how long each took, in ms. */
async function meanwhile(work: Promise<unknown>): Promise<number[]> {
  const took: number[] = []
  const over = new AbortController()
  void work.finally(() => over.abort()).catch(() => undefined)
  while (!over.signal.aborted) {
    const from = performance.now()
    const answer = await server.fetch('/v1/agents')
    await answer.text()
    took.push(performance.now() - from)
    tally.count(answer.status === 200)
  }
  return took
}

const p99 = (took: readonly number[]): string =>
  (took.toSorted((a, b) => a - b)[Math.floor(took.length * 0.99)] ?? 0).toFixed(1)

/** By their answers. What came behind a refusal, on a connection that was closed then, has none: nobody has looked at it. */
function countTried(statuses: Record<string, number>): void {
  const answered = Object.entries(statuses).flatMap(([status, n]) => Array.from({ length: n }, () => status))
  expect(answered.length).toBeLessThanOrEqual(TRIED)
  for (const status of answered) tally.count(status === '401' || status === '429')
  for (let n = answered.length; n < TRIED; n++) tally.count(true)
}

test('10,000 from one address: ten are looked at, and who is there with a good key passes', async () => {
  const flooding = flood(Array.from({ length: TRIED / AT_ONCE }, () => '127.0.0.1'))
  const took = await meanwhile(flooding)
  const statuses = sum(await flooding)
  countTried(statuses)
  expect(statuses['401']).toBe(BURST)
  expect(statuses['429']).toBeGreaterThanOrEqual(TRIED / AT_ONCE - BURST)
  process.stdout.write(`bad keys: ${took.length} good requests meanwhile, p99 ${p99(took)} ms\n`)
  expect(took.length).toBeGreaterThan(10)
})

test('what comes behind a key that is held up, on the same connection, is not answered', async () => {
  const key = `Host: localhost\r\nx-api-key: ${newKey().key}\r\n\r\n`
  const { statuses, isClosed } = await say(server.port, `GET /v1/agents HTTP/1.1\r\n${key}`.repeat(1000))
  tally.expectAll({ statuses, isClosed }, { statuses: [429], isClosed: true })
})

test('a refusal says when to come back, and then the next is looked at', async () => {
  const ask = (key: string) => server.fetch('/v1/agents', { headers: { authorization: `Bearer ${key}` } })
  const refused = await ask(newKey().key)
  expect([refused.status, refused.headers.get('retry-after'), refused.headers.get('x-should-retry')]).toEqual([
    429,
    '6',
    'true',
  ])
  expect(errorEnvelope.parse(await refused.json()).error.type).toBe('rate_limit_error')
  const made = await server.fetch('/berth/v1/keys', { method: 'POST', body: JSON.stringify({ name: 'new' }) })
  const { key } = z.object({ key: z.string() }).parse(await made.json())
  now += 6_000
  const statuses = [await ask(newKey().key), await ask(newKey().key), await ask(key)].map(({ status }) => status)
  tally.expectAll({ 'after six seconds': statuses }, { 'after six seconds': [401, 429, 200] })
})

test('10,000 from 500 addresses: each is held up for itself', async () => {
  const sources = Array.from({ length: 500 }, (_, n) => `127.9.${n >> 8}.${n & 255}`)
  const flooding = (async () => [await flood(sources), await flood(sources)] as const)()
  const took = await meanwhile(flooding)
  const [first, second] = await flooding
  countTried(sum([...first, ...second]))
  for (const statuses of first) expect(statuses).toEqual({ 401: BURST })
  for (const statuses of second) expect(statuses).toEqual({ 429: 1 })
  process.stdout.write(`bad keys: ${took.length} good requests meanwhile, p99 ${p99(took)} ms\n`)
  expect(took.length).toBeGreaterThan(10)
})
