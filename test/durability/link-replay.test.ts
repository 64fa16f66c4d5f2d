/** The real ends of the link on a real socket that breaks anywhere: nothing is lost, doubled or reordered, either way. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Command, Report } from '@berth/protocol'
import { LinkClient } from '@berth/runner/link-client'
import { readServerMessage } from '@berth/runner/link-messages'
import { inside } from '@berth/sandbox'
import type { RunnerItem } from '@berth/server/engine/runner-connection'
import { SandboxHost } from '@berth/server/engine/sandbox-host'
import * as fc from 'fast-check'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { waitUntil } from '../harness/wait-until.ts'
import { type CuttingProxy, cuttingProxy } from './cutting-proxy.ts'

const sessionIds = ['sesn_a', 'sesn_b']
const LINK = inside.link.slice(inside.run.length)

interface Kept {
  received: number
  readonly reports: Report[]
  readonly commands: { seq: number; body: Command }[]
  acknowledged: number
}

/** The server's end; what it has committed outlives each of its lives, and nothing else does. */
class ServerEnd implements AsyncDisposable {
  readonly sessions = new Map(
    sessionIds.map((id): [string, Kept] => [id, { received: 0, reports: [], commands: [], acknowledged: 0 }]),
  )
  readonly faults: string[] = []
  readonly #dir: string
  readonly #commits: () => boolean
  #epoch = 0
  #host: SandboxHost | undefined
  #waiting: RunnerItem[] = []

  /** `commits`: does this commit succeed? */
  constructor(dir: string, commits: () => boolean) {
    this.#dir = dir
    this.#commits = commits
  }

  async start(): Promise<void> {
    await this.#host?.[Symbol.asyncDispose]()
    this.#waiting = []
    const epoch = ++this.#epoch
    const host = new SandboxHost({
      id: 'sbx_1',
      nonce: 'n',
      epoch: () => Promise.resolve(epoch),
      superseded: () => undefined,
      logger: pino({ level: 'silent' }),
      progress: () =>
        Promise.resolve([...this.sessions].map(([sessionId, kept]) => ({ sessionId, ...this.#open(kept) }))),
      receive: (item, from) => {
        this.#waiting.push(item)
        setImmediate(() => this.#commit(from))
        return true
      },
      connected: () => undefined,
      disconnected: () => undefined,
      mismatched: () => undefined,
    })
    this.#host = host
    const uidBase = process.getuid?.() ?? 0
    await host.listen({ id: 'sbx_1', state: 'running', labels: {}, runDir: this.#dir, uidBase })
  }

  command(sessionId: string, body: Command): void {
    const { commands } = this.#of(sessionId)
    const seq = commands.length + 1
    commands.push({ seq, body })
    this.#host?.command(sessionId, seq, body)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host?.[Symbol.asyncDispose]()
  }

  #open(kept: Kept): Pick<Kept, 'received' | 'commands'> {
    return { received: kept.received, commands: kept.commands.filter(({ seq }) => seq > kept.acknowledged) }
  }

  #of(sessionId: string): Kept {
    const kept = this.sessions.get(sessionId)
    if (kept === undefined) throw new Error(`no session ${sessionId}`)
    return kept
  }

  /** As the engine does it: what is committed is acknowledged; a commit that fails forgets all that waits, and the runner is to come again. */
  #commit(from: SandboxHost): void {
    if (from !== this.#host || this.#waiting.length === 0) return
    const batch = this.#waiting
    this.#waiting = []
    if (!this.#commits()) return from.disconnect()
    for (const item of batch) {
      if (item.type !== 'frame') continue
      const kept = this.#of(item.session_id)
      if (item.seq <= kept.received) continue
      if (item.seq !== kept.received + 1) this.faults.push(`frame ${item.seq} came after ${kept.received}`)
      kept.received = item.seq
      kept.acknowledged = Math.max(kept.acknowledged, from.acked(item.session_id))
      kept.reports.push(item.body)
      from.acknowledge(item.session_id, item.seq)
    }
  }
}

interface Act {
  readonly do: 'report' | 'command' | 'restart' | 'pause'
  readonly session: number
  readonly size: number
}

const act: fc.Arbitrary<Act> = fc.record({
  do: fc.oneof(
    { weight: 12, arbitrary: fc.constant('report' as const) },
    { weight: 6, arbitrary: fc.constant('command' as const) },
    { weight: 1, arbitrary: fc.constant('restart' as const) },
    { weight: 4, arbitrary: fc.constant('pause' as const) },
  ),
  session: fc.nat({ max: sessionIds.length - 1 }),
  size: fc.oneof(fc.nat({ max: 200 }), fc.nat({ max: 100_000 })),
})

test('whatever breaks, both sides get everything once and in order', async () => {
  let cuts = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(act, { minLength: 10, maxLength: 60 }),
      fc.infiniteStream(fc.integer({ min: 50, max: 60_000 })),
      fc.infiniteStream(fc.integer({ min: 0, max: 9 })),
      async (acts, cutAfter, luck) => {
        const dir = await mkdtemp(join(tmpdir(), 'bl-'))
        try {
          await mkdir(dirname(join(dir, LINK)), { recursive: true })
          await using server = new ServerEnd(dir, () => (luck.next().value ?? 0) > 0)
          await server.start()
          await using proxy = await cuttingProxy(join(dir, 'p'), join(dir, LINK), () => cutAfter.next().value ?? 0)
          await exchange({ acts, server, proxy, link: `unix:${join(dir, 'p')}` })
          cuts += proxy.cuts
        } finally {
          await rm(dir, { recursive: true })
        }
      },
    ),
    { numRuns: 50 },
  )
  expect(cuts).toBeGreaterThan(20)
})

interface Scene {
  readonly acts: readonly Act[]
  readonly server: ServerEnd
  readonly proxy: CuttingProxy
  readonly link: string
}

async function exchange({ acts, server, proxy, link }: Scene): Promise<void> {
  const handled: string[][] = sessionIds.map(() => [])
  const reported: string[][] = sessionIds.map(() => [])
  const commanded: string[][] = sessionIds.map(() => [])
  const handle = (sessionId: string, command: Command): void => {
    if (command.type === 'verdict') handled[sessionIds.indexOf(sessionId)]?.push(command.tool_use_id)
  }
  const client = new LinkClient({
    link,
    sandboxId: 'sbx_1',
    nonce: 'n',
    now: () => performance.now(),
    log: () => undefined,
    onHello: () => Promise.resolve({ read: readServerMessage, handle, dial: () => undefined }),
  })
  const stop = new AbortController()
  const running = client.run(stop.signal)
  for (const [index, { do: what, session, size }] of acts.entries()) {
    const id = sessionIds[session] ?? ''
    if (what === 'report') {
      reported[session]?.push(`r${index}`)
      client.report(id, { type: 'message', message: { name: `r${index}`, filler: 'x'.repeat(size) } })
    } else if (what === 'command') {
      commanded[session]?.push(`c${index}`)
      const message = 'y'.repeat(size)
      server.command(id, { type: 'verdict', tool_use_id: `c${index}`, behavior: 'allow', message })
    } else if (what === 'restart') await server.start()
    else await new Promise((resolve) => setTimeout(resolve, size % 20))
  }
  proxy.relent()
  const received = (): string[][] =>
    [...server.sessions.values()].map(({ reports }) => reports.map((one) => nameOf(one)))
  await waitUntil('both sides have everything', () => {
    const isWhole = (got: string[][], sent: string[][]) => got.every((list, i) => list.length >= (sent[i]?.length ?? 0))
    return Promise.resolve(isWhole(received(), reported) && isWhole(handled, commanded))
  })
  stop.abort()
  expect(await running).toBeUndefined()
  expect(server.faults).toEqual([])
  expect(received()).toEqual(reported)
  expect(handled).toEqual(commanded)
}

function nameOf(report: Report): string {
  return report.type === 'message' ? String(report.message['name']) : report.type
}
