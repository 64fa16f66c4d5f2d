/** What a sandbox that does not wait for the end of an answer is charged. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { makeRoute, runGateway, type RunningGateway, temporary } from './fixture/running-gateway.ts'
import { call, send } from './fixture/sandbox-call.ts'
import { messageStart, startUpstream, textDelta, type UpstreamServer } from './fixture/upstream-server.ts'

const patient = { timeout: 30_000 }
const model = 'claude-sonnet-5-5'
const words = 'a few words that the model has said, '.repeat(10)

let directory: Awaited<ReturnType<typeof temporary>>
let upstream: UpstreamServer
let gateway: RunningGateway
let answer: (response: ServerResponse) => void
const env = () => ({ ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'k' })
beforeAll(async () => {
  directory = await temporary()
  upstream = await startUpstream((response) => answer(response))
  gateway = await runGateway(`${directory.path}/state`, env())
})
afterAll(async () => {
  await gateway[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
  await directory[Symbol.asyncDispose]()
})

const stream = (response: ServerResponse, text: string) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(text)
}
const started = messageStart(model, { input_tokens: 100, output_tokens: 1 })
const body = JSON.stringify({ model, max_tokens: 5000, messages: [{ role: 'user', content: 'hi' }], stream: true })

test('what had passed by then, and not what it was told at the beginning', async () => {
  answer = (response) => stream(response, started + textDelta(words).repeat(20))
  const route = await makeRoute(directory.path, 'passed')
  await gateway.client.route('passed', route)
  const incoming = await send({ socket: route.socket_path, body })
  await once(incoming, 'data')
  incoming.destroy()
  await vi.waitFor(async () => expect((await gateway.client.usage('passed')).models).toHaveLength(1), patient)
  const [used] = (await gateway.client.usage('passed')).models
  // 7,400 bytes: no fewer tokens than a model would make of them.
  expect(used).toMatchObject({ input_tokens: 100 })
  expect(used?.output_tokens).toBeGreaterThan((words.length * 20) / 4)
  expect(used?.list_cost).toBe(100 * 2000 + (used?.output_tokens ?? 0) * 10_000)
})

test('the prompt, when the model API had it and had told nothing yet; so that a budget ends those who hang up, too', async () => {
  const asked: ServerResponse[] = []
  answer = (response) => void asked.push(response)
  const budget = { max_list_cost: 1_000, active_ms: 0, active_since: null }
  const route = await makeRoute(directory.path, 'hung-up', { budget })
  await gateway.client.route('hung-up', route)
  const gone = new AbortController()
  const incoming = send({ socket: route.socket_path, body, signal: gone.signal })
  incoming.catch(() => undefined)
  await vi.waitFor(() => expect(asked).toHaveLength(1), patient)
  gone.abort()
  await expect(incoming).rejects.toThrow()
  await vi.waitFor(async () => expect((await gateway.client.usage('hung-up')).models).toHaveLength(1), patient)
  const { models, stopped } = await gateway.client.usage('hung-up')
  expect(models[0]?.input_tokens).toBeGreaterThan(body.length / 4)
  expect(stopped).toBe('budget')
  expect((await call({ socket: route.socket_path, body })).status).toBe(402)
  expect(asked).toHaveLength(1)
})

test('what a gateway had seen that was killed in the middle, and the next one counts from there', async () => {
  const state = `${directory.path}/killed`
  const budget = { max_list_cost: 5_000_000, active_ms: 0, active_since: null }
  const route = await makeRoute(directory.path, 'killed-session', { budget })
  answer = (response) => {
    stream(response, started)
    const more = setInterval(() => response.write(textDelta(words)), 50)
    response.on('close', () => clearInterval(more))
  }
  {
    await using first = await runGateway(state, env())
    await first.client.route('killed-session', route)
    const incoming = await send({ socket: route.socket_path, body })
    incoming.on('error', () => undefined).resume()
    // The row of an answer under way does not stay as it was at the beginning.
    using ledger = new DatabaseSync(`${state}/ledger.db`, { readOnly: true })
    const row = ledger.prepare('SELECT output_tokens FROM requests WHERE output_tokens > 500')
    await vi.waitFor(() => expect(row.get()).toBeDefined(), patient)
    await first.kill('SIGKILL')
  }
  await using second = await runGateway(state, env())
  const { models, stopped } = await second.client.usage('killed-session')
  expect(models).toMatchObject([{ requests: 1, input_tokens: 100 }])
  expect(models[0]?.output_tokens).toBeGreaterThan(500)
  expect(stopped).toBe('budget')
})
