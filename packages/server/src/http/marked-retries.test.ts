/** Requests without a key, of clients that count their retries as the official one does. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { DatabaseSync } from 'node:sqlite'
import { createdKey } from '@berth/protocol/api/key'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { countAgents, idOf, post } from '../../test/post.ts'
import { serveApp, type TestServer } from '../../test/serve-app.ts'

let now = Date.parse('2026-03-01T12:00:00Z')
let server: TestServer
let database: DatabaseSync
beforeAll(async () => {
  server = await serveApp({}, { clock: { now: () => new Date(now) }, roundMs: 300 })
  database = new DatabaseSync(server.databasePath, { readOnly: true, timeout: 5_000 })
})
afterAll(async () => {
  database.close()
  await server[Symbol.asyncDispose]()
})

const attempt = (count: number | string) => ({ 'x-stainless-retry-count': String(count) })
const create = (name: string, headers: Record<string, string>) =>
  post(server, '/v1/agents', { name, model: 'm' }, headers)

/** Sends the request and breaks the connection when its answer arrives, unread. */
async function cutOff(name: string, count = 0): Promise<void> {
  const body = JSON.stringify({ name, model: 'm' })
  const socket = connect(server.port, '127.0.0.1')
  socket.write(
    `POST /v1/agents HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${server.key}\r\nx-stainless-retry-count: ${count}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  await once(socket, 'readable')
  socket.resetAndDestroy()
}

const isNoted = (path: string) => database.prepare('SELECT key FROM requests WHERE key = ?').get(path) !== undefined

/** Until every answer that was read is known to have been. */
async function settled(): Promise<void> {
  expect((await post(server, '/v1/environments', { name: 'e' }, attempt(0))).status).toBe(200)
  await vi.waitFor(() => expect(isNoted('/v1/environments')).toBe(false), { timeout: 20_000 })
}

test('a retry whose first answer was lost gets it; it is not made again', async () => {
  await cutOff('lost')
  expect(await countAgents(server, 'lost')).toBe(1)
  await settled()
  const answer = await create('lost', attempt(1))
  expect(answer.status).toBe(200)
  expect((await server.client.beta.agents.retrieve(idOf(answer))).name).toBe('lost')
  expect(await countAgents(server, 'lost')).toBe(1)
})

test('as often as it is lost', async () => {
  for (const count of [0, 1, 2]) await cutOff('often', count)
  await settled()
  expect((await create('often', attempt(3))).status).toBe(200)
  expect(await countAgents(server, 'often')).toBe(1)
})

test('what is no retry is a new request, however equal', async () => {
  await cutOff('yes')
  const ids = [await create('yes', attempt(0)), await create('yes', attempt(0)), await create('yes', {})].map(idOf)
  expect(new Set(ids).size).toBe(3)
  expect(await countAgents(server, 'yes')).toBe(4)
})

test('when the client has its answer, an equal request is a new one, even if its first try did not arrive', async () => {
  await create('again', attempt(0))
  await create('again', attempt(1))
  expect(await countAgents(server, 'again')).toBe(2)
  await settled()
  await create('again', attempt(1))
  expect(await countAgents(server, 'again')).toBe(3)
})

test('also when the answer that it has is that of the retry', async () => {
  await cutOff('recovered')
  await create('recovered', attempt(1))
  expect(await countAgents(server, 'recovered')).toBe(1)
  await create('recovered', attempt(1))
  expect(await countAgents(server, 'recovered')).toBe(2)
})

test('only the newest request of a path is meant', async () => {
  await cutOff('older')
  await create('newer', attempt(0))
  await create('older', attempt(1))
  expect(await countAgents(server, 'older')).toBe(2)
})

test('a refused request does not hide the accepted one before it', async () => {
  await cutOff('before')
  expect((await post(server, '/v1/agents', { name: 'no model' }, attempt(0))).status).toBe(400)
  await create('before', attempt(1))
  expect(await countAgents(server, 'before')).toBe(1)
})

test('another API key means its own requests', async () => {
  await cutOff('of mine')
  const made = await post(server, '/berth/v1/keys', { name: 'k' }, {})
  const { key } = createdKey.parse(JSON.parse(made.body))
  await create('of mine', { ...attempt(1), authorization: `Bearer ${key}` })
  expect(await countAgents(server, 'of mine')).toBe(2)
})

test('what comes long after is no retry', async () => {
  await cutOff('late')
  now += 16 * 60_000
  await create('late', attempt(1))
  expect(await countAgents(server, 'late')).toBe(2)
})

test('a count that is none is no mark', async () => {
  await cutOff('odd')
  for (const count of ['-1', '1.5', 'one', '99999']) await create('odd', attempt(count))
  expect(await countAgents(server, 'odd')).toBe(5)
})

test('with a key the mark means nothing', async () => {
  await cutOff('keyed')
  await create('keyed', { ...attempt(1), 'idempotency-key': 'first' })
  await create('keyed', { ...attempt(1), 'idempotency-key': 'first' })
  expect(await countAgents(server, 'keyed')).toBe(2)
})
