/** The time of day is set forth and back under a server, and between two: nothing but the times shown depends on it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { say } from '../test/post.ts'
import { clientOf, noSandboxes } from '../test/serve-app.ts'
import { Invariants } from '../test/session-invariants.ts'
import { newKey } from './domain/key.ts'
import { type Server, startServer } from './main.ts'

const HOUR = 3_600_000

let dir: string
let offset = 0
const apiKey = newKey().key
const vaultKey = Buffer.alloc(32, 7)
beforeEach(async () => {
  offset = 0
  dir = await mkdtemp(join(tmpdir(), 'berth-clock-'))
})
afterEach(() => rm(dir, { recursive: true }))

function start(): Promise<Server> {
  return startServer({
    dataDir: dir,
    host: '127.0.0.1',
    port: 0,
    apiKey,
    vaultKey,
    allowedHosts: [],
    allowedOrigins: [],
    driver: noSandboxes,
    gateway: openGatewayClient(join(dir, 'none.sock')),
    logger: pino({ level: 'silent' }),
    clock: { now: () => new Date(Date.now() + offset) },
  })
}

async function newSession({ beta }: ReturnType<typeof clientOf>): Promise<string> {
  const agent = await beta.agents.create({ name: 'A', model: 'm' })
  const environment = await beta.environments.create({ name: 'e' })
  return (await beta.sessions.create({ agent: agent.id, environment_id: environment.id })).id
}

const database = (): DatabaseSync => new DatabaseSync(join(dir, 'berth.db'))

test.each([
  ['forth and back', [HOUR, 0, -HOUR, HOUR]],
  ['back and forth', [-HOUR, 0, HOUR, -HOUR]],
])(
  'an hour %s: keys are kept, order is that of acceptance, turns go on',
  async (_how, jumps) => {
    await using server = await start()
    const client = clientOf(server.url, apiKey)
    const id = await newSession(client)
    using raw = database()
    const invariants = new Invariants(raw, id)
    const send = async (n: number): Promise<string> => {
      const headers = { 'Idempotency-Key': `message-${n}` }
      return JSON.stringify(await client.beta.sessions.events.send(id, say(`${n}`), { headers }))
    }
    const answers = [await send(0)]
    for (const jump of jumps) {
      offset = jump
      for (const [n, answer] of answers.entries()) expect(await send(n)).toBe(answer)
      answers.push(await send(answers.length))
      expect(invariants.check()).toEqual([])
    }
    // No sandbox can be made here: each turn is tried, and ends by itself.
    await vi.waitFor(async () => expect((await client.beta.sessions.retrieve(id)).status).toBe('idle'), 40_000)
    expect(invariants.check()).toEqual([])
    const texts: string[] = []
    for await (const event of client.beta.sessions.events.list(id)) {
      if (event.type === 'user.message') texts.push(JSON.stringify(event.content))
    }
    expect(texts).toEqual(answers.map((_, n) => JSON.stringify([{ type: 'text', text: `${n}` }])))
  },
  60_000,
)

test('a server whose clock is behind takes over at once from one that died holding its leases', async () => {
  let id = ''
  {
    await using server = await start()
    id = await newSession(clientOf(server.url, apiKey))
  }
  using raw = database()
  // Longer than is waited for: it is not that the lease runs out.
  const until = new Date(Date.now() + HOUR).toISOString()
  raw.prepare(`UPDATE session_groups SET lease_holder = 'server-dead', lease_until = ?, epoch = 7`).run(until)
  offset = -HOUR
  await using server = await start()
  const client = clientOf(server.url, apiKey)
  await client.beta.sessions.events.send(id, say('hello'))
  const epoch = () => raw.prepare('SELECT epoch FROM session_groups WHERE id = ?').get(id)
  await vi.waitFor(() => expect(epoch()).toEqual({ epoch: 8 }), 40_000)
})
