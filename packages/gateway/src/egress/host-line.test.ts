import { once } from 'node:events'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { HostLine } from './host-line.ts'

/** What is said on connections, in their order. */
const accepted: Socket[] = []
const server = createServer((socket) => void accepted.push(socket.on('error', () => undefined)))
beforeAll(async () => void (await once(server.listen(0, '127.0.0.1'), 'listening')))
afterAll(async () => {
  for (const socket of accepted) socket.destroy()
  await once(server.close(), 'close')
})

async function open(): Promise<{ line: HostLine; host: Socket }> {
  const address = server.address()
  const socket = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1')
  const connection = once(server, 'connection')
  await Promise.all([
    connection,
    once(
      socket.on('error', () => undefined),
      'connect',
    ),
  ])
  const host = accepted.at(-1)
  if (host === undefined) throw new Error('nobody came')
  return { line: new HostLine(socket, { idleMs: 20_000 }), host }
}

interface Asked {
  readonly outgoing: ClientRequest
  readonly answer: Promise<IncomingMessage>
}

function ask(line: HostLine, method = 'GET', headers: string[] = []): Asked {
  const outgoing = line.send({ method, path: '/', headers: ['Host', 'h.test', ...headers] })
  const answer = once(outgoing, 'response').then(([incoming]: IncomingMessage[]) => {
    if (incoming === undefined) throw new Error('no answer')
    return incoming
  })
  outgoing.on('error', () => undefined)
  return { outgoing, answer }
}

async function read(incoming: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of incoming) text += String(chunk)
  return text
}

/** One request that is answered with these bytes. Can the next one follow? */
async function follows(bytes: string, method = 'GET', cut: (text: string) => string[] = (text) => [text]) {
  const { line, host } = await open()
  const { outgoing, answer } = ask(line, method)
  outgoing.end()
  await once(host, 'data')
  host.setNoDelay()
  // Whatever is said at once is there when the first of it is read.
  for (const piece of cut(bytes)) host.write(piece, 'latin1')
  const incoming = await answer
  const text = await read(incoming)
  await new Promise(setImmediate)
  const can = line.rest(incoming)
  line[Symbol.dispose]()
  return { can, text }
}

const head = (headers: string, status = '200 OK'): string => `HTTP/1.1 ${status}\r\n${headers}\r\n`
const sized = `${head('Content-Length: 2\r\n')}ok`
const chunked = `${head('Transfer-Encoding: chunked\r\n')}2\r\nok\r\n0\r\n\r\n`
const byteByByte = (text: string): string[] => text.split('')

const clean: readonly [string, string, string?][] = [
  ['a length', sized],
  ['a length of nothing', head('content-length:0\r\n')],
  ['chunks', chunked],
  ['chunks of several sizes', `${head('transfer-encoding: Chunked\r\n')}00A\r\n0123\r\n6789\r\n1\r\nx\r\n0\r\n\r\n`],
  ['a wish to go on', `${head('Connection: keep-alive\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 2\r\n')}ok`],
  ['no body: HEAD', head('Content-Length: 2\r\n'), 'HEAD'],
  ['no body: 204', head('', '204 No Content')],
  ['no body: 304', head('Content-Length: 2\r\n', '304 Not Modified')],
  ['no words for the status', `${head('Content-Length: 2\r\n', '404 ')}ok`],
]
test.each(clean)('%s: the next request can follow', async (_, bytes, method) => {
  expect(await follows(bytes, method)).toMatchObject({ can: true })
  expect(await follows(bytes, method, byteByByte)).toMatchObject({ can: true })
})

const unclean: readonly [string, string, string?][] = [
  ['a second answer', sized + sized],
  ['the beginning of a second answer', `${sized}HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\n`],
  ['one letter of a second answer', `${sized}H`],
  ['an empty line behind the end', `${sized}\r\n`],
  ['half of one', `${chunked}\r`],
  ['a second answer behind the last chunk', chunked + sized],
  ['its beginning behind the last chunk', `${chunked}HTTP/1.1 2`],
  ['something else behind the end', `${sized}x`],
  ['a body where there is none: HEAD', sized, 'HEAD'],
  ['a body where there is none: 204', `${head('Content-Length: 2\r\n', '204 No Content')}ok`],
  ['a body where there is none: 304', `${head('Content-Length: 2\r\n', '304 Not Modified')}ok`],
  ['hints before it', `HTTP/1.1 103 Early Hints\r\n\r\n${sized}`],
  ['a trailer', `${head('Transfer-Encoding: chunked\r\n')}2\r\nok\r\n0\r\nX-A: b\r\n\r\n`],
  ['an extension of a chunk', `${head('Transfer-Encoding: chunked\r\n')}2;x=y\r\nok\r\n0\r\n\r\n`],
  ['a wish to close', `${head('Connection: close\r\nContent-Length: 2\r\n')}ok`],
  ['a wish to close among others', `${head('Connection: keep-alive, close\r\nContent-Length: 2\r\n')}ok`],
  ['an older version', 'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok'],
  ['another version', 'HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
  ['an empty line before it', `\r\n${sized}`],
  ['little time', `${head('Keep-Alive: timeout=1\r\nContent-Length: 2\r\n')}ok`],
]
test.each(unclean)('%s: no request follows', async (_, bytes, method) => {
  expect(await follows(bytes, method)).toMatchObject({ can: false })
})

test('an answer that only the end of the connection ends is the last', async () => {
  const { line, host } = await open()
  const { outgoing, answer } = ask(line)
  outgoing.end()
  await once(host, 'data')
  host.end(`${head('')}ok`)
  const incoming = await answer
  expect(await read(incoming)).toBe('ok')
  expect(line.rest(incoming)).toBe(false)
})

test('no request follows one of which the host has not had the whole', async () => {
  const { line, host } = await open()
  const { outgoing, answer } = ask(line, 'POST', ['Content-Length', '10'])
  outgoing.write('half ')
  await once(host, 'data')
  host.write(sized)
  const incoming = await answer
  await read(incoming)
  await new Promise(setImmediate)
  expect(line.rest(incoming)).toBe(false)
  line[Symbol.dispose]()
})

test.each([
  ['says something', (host: Socket) => void host.write('HTTP/1.1 200 OK\r\n')],
  ['closes its half', (host: Socket) => void host.end()],
  ['resets', (host: Socket) => void host.resetAndDestroy()],
])('a line whose host %s while nothing is asked is closed', async (_, act) => {
  const { line, host } = await open()
  expect(line.isReady).toBe(true)
  const { outgoing, answer } = ask(line)
  expect(line.isReady).toBe(false)
  outgoing.end()
  await once(host, 'data')
  host.write(sized)
  const incoming = await answer
  await read(incoming)
  await new Promise(setImmediate)
  expect(line.rest(incoming)).toBe(true)
  const closed = once(line.socket, 'close')
  act(host)
  await closed
  expect(line.isReady).toBe(false)
})

test('a host that speaks before it is asked is left', async () => {
  const { line, host } = await open()
  const closed = once(line.socket, 'close')
  host.write(sized)
  await closed
  expect(line.isReady).toBe(false)
})

test('a hundred requests go over one line, and leave nothing on it', async () => {
  const { line, host } = await open()
  host.on('data', (chunk) => String(chunk).endsWith('\r\n\r\n') && host.write(chunked))
  const listeners = (): number[] => line.socket.eventNames().map((name) => line.socket.listenerCount(name))
  let first: number[] = []
  for (let n = 0; n < 100; n++) {
    const { outgoing, answer } = ask(line)
    outgoing.end()
    const incoming = await answer
    expect(await read(incoming)).toBe('ok')
    await new Promise(setImmediate)
    expect(line.rest(incoming)).toBe(true)
    if (n === 0) first = listeners()
  }
  expect(listeners()).toEqual(first)
  line[Symbol.dispose]()
})
