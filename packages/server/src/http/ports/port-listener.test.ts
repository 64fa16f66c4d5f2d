/** The listener before servers that do not answer as they should: each is a TCP server that says these bytes. */
import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'
import { pino } from 'pino'
import { afterEach, expect, it, test } from 'vitest'
import { systemClock } from '../../domain/clock.ts'
import { PortAddresses } from '../../domain/port-address.ts'
import { PortTokens } from '../../domain/port-token.ts'
import { KeyCheck } from '../key-check.ts'
import { KeyWatch } from '../key-watch.ts'
import { createPortServer, PortListener } from './port-listener.ts'
import { serveApp } from '../../../test/serve-app.ts'

const sessionId = 'sesn_01ARZ3NDEKTSV4RRFFQ69G5FAV'
const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n'
const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]()
})

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Asks a listener whose session's server says `words` to whoever connects; answers all that comes back. */
async function ask(words: string, given: { headers?: string; host?: string; method?: string } = {}): Promise<string> {
  const app = await serveApp()
  opened.push(app)
  const agent = createServer((socket) => socket.on('error', () => undefined).end(Buffer.from(words, 'latin1')))
  const agentPort = await listening(agent)
  opened.push({ [Symbol.asyncDispose]: async () => void agent.close() })
  const server = createPortServer()
  const port = await listening(server)
  const addresses = new PortAddresses('localhost', port)
  const ports = {
    sandboxOf: () => Promise.resolve('sbx_1'),
    connect: () => Promise.resolve(connect(agentPort, '127.0.0.1')),
  }
  const logger = pino({ level: 'silent' })
  const keys = new KeyWatch({ store: app.store, clock: systemClock, logger })
  opened.push({ [Symbol.asyncDispose]: async () => keys[Symbol.dispose]() })
  const check = new KeyCheck({ store: app.store, clock: systemClock })
  const deps = {
    store: app.store,
    keys,
    check,
    engine: { ports },
    addresses,
    tokens: new PortTokens('s'),
    clock: systemClock,
  }
  opened.push(new PortListener(server, { ...deps, logger }))
  const host = given.host ?? new URL(addresses.originOf({ sessionId, port: 8000 })).host
  const socket = connect(port, '127.0.0.1')
  const method = given.method ?? 'GET'
  socket.write(
    `${method} / HTTP/1.1\r\nHost: ${host}\r\nX-Api-Key: ${app.key}\r\n${given.headers ?? 'Connection: close\r\n'}\r\n`,
  )
  let answer = ''
  socket.setEncoding('latin1').on('data', (text: string) => (answer += text))
  await once(socket, 'close')
  return answer
}

it.each([
  ['', ''],
  ['garbage', 'garbage\r\n\r\n'],
  ['a status that is none', 'HTTP/1.1 099 Odd\r\n\r\n'],
  ['a switch that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'],
  ['a header with a control character', 'HTTP/1.1 200 OK\r\nx: a\u0001b\r\ncontent-length: 0\r\n\r\n'],
  ['headers without end', `HTTP/1.1 200 OK\r\n${`x: ${'y'.repeat(1000)}\r\n`.repeat(100)}\r\n`],
])('says that the port does not answer as HTTP: %s', async (_name, words) => {
  for (const headers of ['Connection: close\r\n', upgrade]) {
    if (headers === upgrade && words.includes(' 101 ')) continue
    const answer = await ask(words, { headers })
    expect(answer).toMatch(/^HTTP\/1\.1 503 [^]*x-berth-error: unavailable[^]*does not answer as HTTP\n/)
  }
})

test('an answer that breaks off is not made whole', async () => {
  const answer = await ask('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive!')
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\ncontent-length: 10\r\n[^]*\r\n\r\nfive!$/)
  expect(await ask('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive!\r\n')).not.toContain('\r\n0\r\n')
})

test.each([
  [{ headers: 'Connection: Upgrade\r\nUpgrade: h2c\r\n' }, 'upgrade: only to a WebSocket'],
  [{ headers: `${upgrade}Content-Length: 1\r\n` }, 'upgrade: only to a WebSocket'],
  [{ headers: upgrade, method: 'POST' }, 'upgrade: only to a WebSocket'],
  [{ headers: 'Host: other\r\nConnection: close\r\n' }, ''],
  [{ headers: 'X-Api-Key: other\r\nConnection: close\r\n' }, 'x-api-key: is there twice'],
  [{ headers: 'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n' }, ''],
  [{ host: 'localhost', headers: upgrade }, 'Host: names no port of a session'],
])('refuses %j', async (given, why) => {
  const answer = await ask('HTTP/1.1 200 OK\r\n\r\n', given)
  expect(answer).toMatch(/^HTTP\/1\.1 400 /)
  expect(answer).toContain(why)
})
