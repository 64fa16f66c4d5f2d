/** A gateway that is killed while everything is under way: nothing leaves meanwhile, and the next one knows all that the first did. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { call, readAll, send } from '@berth/gateway/fixture/sandbox-call'
import { messageStart, shortAnswer, textDelta } from '@berth/gateway/fixture/upstream-server'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { waitUntil } from '../harness/wait-until.ts'
import { auth, bothWays, get, limited, trapWorld, tunnelTo } from './traps/trap-world.ts'

const world = trapWorld()
const model = 'claude-sonnet-5-5'
const body = (text: string): string =>
  JSON.stringify({ model, max_tokens: 5_000, messages: [{ role: 'user', content: text }], stream: true })
const words = 'a few words that the model has said, '.repeat(10)

/** Answers that have begun and go on for as long as somebody listens. */
const streaming = new Set<ServerResponse>()
const asked: string[] = []
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const text = await readAll(request)
  asked.push(text)
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  if (!text.includes('at length')) return void response.end(shortAnswer(model))
  response.write(messageStart(model, { input_tokens: 100, output_tokens: 1 }))
  streaming.add(response)
  response.on('close', () => streaming.delete(response))
}
const api = createServer((request, response) => void answer(request, response))
const talking = setInterval(() => streaming.forEach((response) => response.write(textDelta(words))), 20)
beforeAll(async () => {
  api.listen(world.path('model-api.sock'))
  await once(api, 'listening')
})
afterAll(async () => {
  clearInterval(talking)
  api.closeAllConnections()
  const closed = once(api, 'close')
  api.close()
  await closed
})

const socketOf = (name: string): string => world.path(name, 'model.sock')
const ask = async (name: string, text: string): Promise<number> =>
  (await call({ socket: socketOf(name), body: body(text) }).catch(() => ({ status: 0 }))).status

test('nothing leaves while it is away; budgets, policies and passwords are what they were', async () => {
  // So little that the first answer is the last.
  const spent = { max_list_cost: 1, active_ms: 0, active_since: null }
  const budget = { max_list_cost: 50_000_000, active_ms: 0, active_since: null }
  await world.route(limited, 'a', { budget })
  await world.route({ type: 'limited', hosts: ['rogue.test'] }, 'b', { budget: spent })
  expect(await ask('b', 'shortly')).toBe(200)
  expect(await ask('b', 'again')).toBe(402)
  const calls = asked.length
  const answer = await send({ socket: socketOf('a'), body: body('at length') })
  const told = readAll(answer).catch((error: unknown) => error)
  using tunnel = await world.talk()
  tunnel.say(tunnelTo('allowed.test:80'))
  await tunnel.until(/200 Connection Established\r\n\r\n/)
  using download = await world.talk()
  download.say(get('rogue.test').replace('test/ ', 'test/body-without-end '))
  await download.until(/bbb/)
  await waitUntil('the ledger has what was seen of the call', () => {
    using ledger = new DatabaseSync(world.path('state/ledger.db'), { readOnly: true })
    return (
      ledger.prepare(`SELECT 1 FROM requests WHERE session_id = 'sesn_a' AND input_tokens = 100`).get() !== undefined
    )
  })

  await world.killGateway()
  const [before, visits] = [await world.look(), (await world.visits()).length]
  expect(await told).toBeInstanceOf(Error)
  await Promise.all([tunnel.end(), download.end()])
  tunnel.say('GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n')
  for (const bytes of bothWays(['allowed.test', 'rogue.test', 'evil.test'])) {
    const { status } = await world.send(bytes)
    world.count(status === 0)
    expect(status).toBe(0)
  }
  expect([await ask('a', 'while it is away'), await ask('b', 'while it is away')]).toEqual([0, 0])
  expect(await world.look()).toEqual(before)
  expect((await world.visits()).length).toBe(visits)
  expect(asked.length).toBe(calls + 1)

  const from = performance.now()
  await world.startGateway()
  const { status } = await world.send(get('allowed.test'))
  process.stdout.write(`gateway: back after ${Math.round(performance.now() - from)} ms\n`)
  world.count(status === 200)
  expect(status).toBe(200)
  await world.allRefused([
    ...bothWays(['evil.test', 'f0.test']),
    get('allowed.test').replace('Proxy-Authorization', 'X-Authorization'),
    tunnelTo('allowed.test:22'),
  ])
  const foreign = await world.send(get('rogue.test'), 'b')
  world.count(foreign.status === 407)
  expect(await ask('b', 'after it')).toBe(402)
  expect(await ask('a', 'shortly')).toBe(200)
  const { models } = await world.gateway.usage('sesn_a')
  // The call that was cut is paid for as far as it was seen.
  expect(models).toMatchObject([{ requests: 2 }])
  expect(models[0]?.input_tokens).toBeGreaterThanOrEqual(110)
  expect((await world.gateway.usage('sesn_b')).stopped).toBe('budget')
  expect((await world.gateway.sessions()).toSorted()).toEqual(['sesn_a', 'sesn_b'])
})

test('killed three times under fire, not one request gets through that is not allowed', async () => {
  await world.route({ type: 'limited', hosts: ['rogue.test'] }, 'b')
  const state = { isOver: false }
  const hammer = async (bytes: string): Promise<void> => {
    while (!state.isOver) {
      const { status, socket } = await world.send(bytes)
      socket.destroy()
      world.count(status !== 200)
      // Nobody is there: more tries at once would only keep it from coming back.
      if (status === 0) await delay(20)
    }
  }
  const attacks = [
    get('evil.test'),
    get('f8.test'),
    get('allowed.test').replace(auth(), auth('b')),
    get('allowed.test:22'),
    get('127.0.0.1'),
  ]
  const all = Promise.all(attacks.map(hammer))
  for (let n = 0; n < 3; n++) {
    await world.killGateway()
    await world.startGateway()
    world.count((await world.send(get('allowed.test'))).status === 200)
  }
  state.isOver = true
  await all
  const { hits, asked: names } = await world.look()
  expect(hits).toEqual([])
  expect(names).not.toContain('evil.test')
})
