/** An agent takes as much as it can get: it gets its share, and those beside it have theirs. */
import { readFile, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { z } from 'zod'
import type { ServerProcess } from '../harness/berth-server.ts'
import { contentPath, takeCheckpoint } from '../harness/berth-api.ts'
import { bash } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { startKillableBerth, type TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'
import { Tally } from './tally.ts'

// Processes are started anew, on a machine that may have other things to do.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })
const soon = (): AbortSignal => AbortSignal.timeout(100_000)
const MIB = 1024 * 1024
const DISK_MIB = 256
const attempt = z.object({ tried: z.string(), outcome: z.number() })
const atMost = (limit: number): unknown => expect.toSatisfy((found: number) => found <= limit)
const between = (least: number, most: number): unknown =>
  expect.toSatisfy((found: number) => found >= least && found <= most)

let berth: TestBerth<ServerProcess>
let greedy: string
let other: string
const tally = new Tally('floods')

beforeAll(async () => {
  berth = await startKillableBerth()
  const resources = { cpus: 1, memory_mib: 768, disk_mib: DISK_MIB, pids: 128, files: 2_048 }
  greedy = (await berth.createSessionWith({ resources })).id
  other = (await berth.createSession()).id
  const source = (await readFile(join(import.meta.dirname, 'inside/flood.mjs'))).toString('base64')
  await Promise.all([
    berth.runTurn(
      greedy,
      ['Plant', bash(`echo ${source} | base64 -d > /tmp/flood.mjs`), '::next', '::text Planted.'],
      soon(),
    ),
    berth.runTurn(other, ['Live', '::text Alive.'], soon()),
  ])
})
afterAll(async () => {
  await using _berth = berth
  tally.end()
})

/** Starts the program in the background of the greedy session, once for each, and waits for what they got. */
async function flood(...names: readonly string[]): Promise<Record<string, number>> {
  const starts = names.map((name) => `(/opt/berth/node /tmp/flood.mjs ${name} > ${name} 2>&1 &)`)
  const waits = names.map((name) => `while [ ! -s ${name} ]; do sleep 0.1; done; cat ${name}`)
  const command = [...starts, ...waits].join('; ')
  const turn = await berth.runTurn(greedy, ['Flood', bash(command), '::next', '::text Begun.'], soon())
  const lines = textOf(onlyOf(turn, 'agent.tool_result').content).trim().split('\n')
  return Object.fromEntries(
    lines.map((line) => attempt.parse(JSON.parse(line))).map(({ tried, outcome }) => [tried, outcome]),
  )
}

/** Ends what was begun, and proves that the greedy one goes on, too. */
async function ebb(): Promise<void> {
  const sandbox = await SessionSandbox.of(berth.traces, greedy)
  for (const { pid, args } of await sandbox.processes()) {
    if (args.includes('/tmp/flood.mjs') || args.includes('while :; do :; done')) process.kill(pid, 'SIGKILL')
  }
  expect(messagesOf(await berth.runTurn(greedy, ['And now', '::text Here.']))).toEqual(['Here.'])
}

/** A whole turn of the other session, in milliseconds. */
async function turnOfOther(): Promise<number> {
  const began = performance.now()
  const turn = await berth.runTurn(other, ['And you', bash('echo fine'), '::next', '::text {{result}}'])
  expect(messagesOf(turn)).toEqual(['fine'])
  return performance.now() - began
}

/** The slowest of some requests to the server, in milliseconds. */
async function slowestAnswer(): Promise<number> {
  const times: number[] = []
  for (let n = 0; n < 50; n++) {
    const began = performance.now()
    await (await berth.fetch('/v1/sessions?limit=1')).text()
    times.push(performance.now() - began)
  }
  return Math.max(...times)
}

/** Resident memory of the server and the gateway, in bytes. */
async function memoryOfHost(): Promise<number> {
  const gateway = (await berth.traces.gateway())?.pid ?? 0
  const statuses = await Promise.all([gateway, berth.server.pid].map((pid) => readFile(`/proc/${pid}/status`, 'utf8')))
  const sizes = statuses.map((status) => Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]))
  return sizes.reduce((sum, kilobytes) => sum + kilobytes * 1024, 0)
}

test('sockets of the gateway and files: each has an end, and nobody else feels it', async () => {
  const found = await flood('model', 'proxy', 'files')
  const turn = await turnOfOther()
  // The connections that the agent's own process has are among those of the model.
  tally.expectAll(
    { ...found, turn },
    { model: atMost(64), proxy: between(1, 256), files: atMost(2_048), turn: atMost(45_000) },
  )
  await ebb()
})

test('processor time: others get theirs, and the server answers', async () => {
  await flood('processor')
  const [answer, turn] = [await slowestAnswer(), await turnOfOther()]
  tally.expectAll({ answer, turn }, { answer: atMost(5_000), turn: atMost(45_000) })
  await ebb()
})

test('disk: it ends at the quota, files with holes are refused by the checkpoint at once, and the host has its space again', async () => {
  const { dir } = await SessionSandbox.of(berth.traces, greedy)
  const image = async (): Promise<number> => (await stat(join(dir, 'disk.img'))).blocks * 512
  const { bavail, bsize } = await statfs(dir)
  const full = await berth.runTurn(greedy, [
    'Fill',
    // What is written has then reached the image.
    bash('head -c 1000000000 /dev/zero > big; sync -f big; df -h . | tail -n 1'),
    '::next',
    '::text Full.',
  ])
  const taken = await image()
  await berth.runTurn(greedy, ['Empty', bash('rm big; sync; truncate -s 1T holes'), '::next', '::text Emptied.'])
  await waitUntil('the image is small again', async () => (await image()) < taken / 2)
  const began = performance.now()
  const refused = await takeCheckpoint(berth, greedy).then(() => 'taken', String)
  const after = await statfs(dir)
  tally.expectAll(
    {
      said: textOf(onlyOf(full, 'agent.tool_result').content),
      taken,
      refused,
      refusedIn: performance.now() - began,
      hostLost: (bavail - after.bavail) * bsize,
    },
    {
      said: expect.stringMatching(/No space left on device|100%/),
      taken: between((DISK_MIB * MIB) / 2, DISK_MIB * MIB * 1.05),
      refused: expect.stringMatching(/limit of bytes/),
      refusedIn: atMost(45_000),
      hostLost: expect.any(Number),
    },
  )
  expect((await berth.fetch(contentPath(greedy, 'holes'), { method: 'DELETE' })).status).toBeLessThan(500)
  expect(messagesOf(await berth.runTurn(greedy, ['And now', '::text Here.']))).toEqual(['Here.'])
})

test('output without an end or without a line: it is cut and said to be, and the server holds none of it', async () => {
  const before = await memoryOfHost()
  const outputs = ['yes | head -c 100000000', String.raw`head -c 100000000 /dev/zero | tr '\0' x >&2`]
  const prompt = ['Print', ...outputs.flatMap((command) => [bash(command), '::next']), '::text Done.']
  const turn = await berth.runTurn(greedy, prompt, soon())
  const results = ofType(turn, 'agent.tool_result').map(({ content }) => textOf(content))
  tally.expectAll(
    {
      results: results.length,
      longest: Math.max(...results.map((text) => text.length)),
      grown: (await memoryOfHost()) - before,
    },
    { results: 2, longest: atMost(40_000), grown: atMost(96 * MIB) },
  )
  for (const text of results) expect(text).toMatch(/saved to|truncated|too large|No space/i)
})
