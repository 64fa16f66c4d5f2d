/** Requests of one connection of a client that go to the host over one connection, and when they do not. */
import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import type { Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { HostAnswer, SecretSession } from '../fixture/secret-session.ts'
import { allHosts, openSecretWorld, type SecretWorld } from '../fixture/secret-world.ts'
import type { Answering } from '../fixture/secure-host.ts'

const smuggled = 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled'
const variables = [{ name: 'TOKEN', value: 'canary-kept', hosts: ['bound.test', 'misnamed.test'] }]

let world: SecretWorld
let session: SecretSession
let here: string
let over: TLSSocket
/** Connections to the host, as it has them, one for each request. */
const used: Socket[] = []

beforeAll(async () => {
  world = await openSecretWorld(variables)
  session = world.sessions[0]
  here = session.placeholder('TOKEN')
})
afterAll(() => world[Symbol.asyncDispose]())
afterEach(() => {
  over.destroy()
  used.length = 0
})

/** The host notes the connection, then answers so. */
function answering(how: Answering): void {
  world.host.answering = (response, seen) => {
    if (response.socket !== null) used.push(response.socket)
    how(response, seen)
  }
}
const plainly: Answering = (response, { rawHeaders }) => void response.end(rawHeaders.join('\n'))

async function call(given: Partial<Parameters<SecretSession['call']>[0]> = {}): Promise<HostAnswer> {
  return await session.call({ host: 'bound.test', over, headers: { authorization: here }, ...given })
}

/** A tunnel in which one request was answered in this way. */
async function begin(how: Answering = plainly): Promise<void> {
  over = await session.connect('bound.test')
  answering(how)
  expect(await call()).toMatchObject({ status: 200 })
  answering(plainly)
}

function isOpen(socket: Socket | undefined): boolean {
  return socket?.closed === false
}

async function closed(socket: Socket | undefined): Promise<void> {
  if (socket?.closed === false) await once(socket, 'close')
}

test('requests of one connection go over one, each decided and on record, with the secrets of the moment', async () => {
  await begin()
  const before = world.host.connections()
  await call({ method: 'POST', headers: { 'content-type': 'text/plain' }, body: here })
  expect(world.host.seen.at(-1)?.body).toBe('canary-kept')
  await call({ method: 'POST', headers: { 'transfer-encoding': 'chunked' }, body: 'x'.repeat(100_000) })
  await world.putVariables([{ ...variables[0], name: 'TOKEN', value: 'rotated', hosts: ['bound.test'] }])
  await call()
  expect(world.host.seen.at(-1)?.rawHeaders).toContain('rotated')
  await world.removeVault()
  await call()
  expect(world.host.seen.at(-1)?.rawHeaders).toContain(here)
  await world.putVariables(variables)
  expect(world.host.connections()).toBe(before)
  expect(new Set(used).size).toBe(1)
  const decisions = await world.audit.list({ session_id: session.id, limit: 6 })
  expect(decisions.map(({ protocol, credentials }) => [protocol, credentials.join()])).toEqual([
    ['tls', ''],
    ['tls', 'TOKEN'],
    ['tls', ''],
    ['tls', 'TOKEN'],
    ['tls', 'TOKEN'],
    ['connect', ''],
  ])
})

test('what one client has open is for nobody else, and ends with it', async () => {
  await begin()
  const sockets = [over]
  for (const one of [session, world.sessions[1]]) {
    const another = await one.connect('bound.test')
    sockets.push(another)
    expect(await one.call({ host: 'bound.test', over: another })).toMatchObject({ status: 200 })
  }
  expect(new Set(used).size).toBe(3)
  expect(used.every(isOpen)).toBe(true)
  for (const socket of sockets) socket.destroy()
  await Promise.all(used.map(closed))
})

const rude: readonly [string, Answering][] = [
  [
    'says more than it announced',
    ({ socket }) => socket?.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok${smuggled}`),
  ],
  [
    'begins another answer',
    ({ socket }) => socket?.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n'),
  ],
  [
    'gives hints',
    ({ socket }) => socket?.write('HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  ],
  [
    'has trailers',
    ({ socket }) =>
      socket?.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: smuggled\r\n\r\n'),
  ],
  ['wants to close', (response) => response.writeHead(200, { connection: 'close' }).end('ok')],
  ['waits for a second only', (response) => response.writeHead(200, { 'keep-alive': 'timeout=1' }).end('ok')],
]
test.each(rude)(
  'a host that %s is left, and the next request has a connection and an answer of its own',
  async (_, how) => {
    await begin(how)
    const answer = await call()
    expect(answer.text).toContain(here)
    expect(answer.text).not.toContain('smuggled')
    expect(new Set(used).size).toBe(2)
    await closed(used[0])
    // And that one is kept.
    await call()
    expect(new Set(used).size).toBe(2)
  },
)

test('a second answer that nobody has asked for is never one, and its connection not used again', async () => {
  await begin()
  await call()
  expect(new Set(used).size).toBe(1)
  used[0]?.write(smuggled)
  await closed(used[0])
  expect((await call()).text).not.toContain('smuggled')
  expect(new Set(used).size).toBe(2)
})

test('a host that has closed meanwhile is dialled anew, and the client hears nothing of it', async () => {
  await begin()
  for (const leave of [(socket?: Socket) => socket?.end(), (socket?: Socket) => socket?.destroy()]) {
    const [last, before] = [used.at(-1), world.host.seen.length]
    leave(last)
    await closed(last)
    expect(await call({ method: 'POST', body: 'once' })).toMatchObject({ status: 200 })
    expect(world.host.seen.length).toBe(before + 1)
    expect(used.at(-1)).not.toBe(last)
  }
})

test('a request that was sent is not sent again', async () => {
  await begin()
  const [before, connections] = [world.host.seen.length, world.host.connections()]
  answering(({ socket }) => socket?.destroy())
  expect(await call({ method: 'POST', body: 'once' })).toMatchObject({ status: 502, reason: 'unreachable' })
  expect(world.host.seen.length).toBe(before + 1)
  expect(world.host.connections()).toBe(connections)
})

test('an answer that breaks off ends the connection to the client, too', async () => {
  await begin()
  answering(({ socket }) => {
    socket?.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun', () => socket.destroy())
  })
  const ended = once(over, 'close')
  await expect(call()).rejects.toThrow(/aborted|hang up/)
  await ended
})

test('a request with a body that its method has not by custom is the last on its connection', async () => {
  await begin()
  await call({ method: 'GET', headers: { 'content-length': 4 }, body: 'body' })
  expect(world.host.seen.at(-1)?.rawHeaders.join()).toContain('Connection,close')
  await closed(used.at(-1))
  await call()
  expect(new Set(used).size).toBe(2)
})

test('a WebSocket takes the connection with it', async () => {
  over = await session.connect('bound.test')
  answering(plainly)
  const heard = async (bytes: string, whole: RegExp): Promise<void> => {
    let text = ''
    over.write(bytes)
    while (!whole.test(text)) text += String((await once(over, 'data'))[0])
  }
  const head = `Host: bound.test\r\nAuthorization: ${here}\r\n`
  await heard(`GET / HTTP/1.1\r\n${head}\r\n`, /^HTTP\/1\.1 200 [^]*\r\n0\r\n\r\n$/)
  const before = world.host.connections()
  const handshake = `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n`
  await heard(`GET /ws HTTP/1.1\r\n${head}Connection: Upgrade\r\n${handshake}\r\n`, /^HTTP\/1\.1 101 [^]*\r\n\r\n$/)
  await heard(smuggled, /^HTTP\/1\.1 200 OK[^]*smuggled$/)
  expect(world.host.connections()).toBe(before)
  over.destroy()
  await closed(used[0])
})

test('a host whose certificate would not be trusted any more gets nothing on the connection that is open', async () => {
  await begin()
  const before = world.host.seen.length
  world.trust(world.authority.certificate)
  try {
    expect(await call()).toMatchObject({ status: 502, reason: 'certificate' })
    await closed(used[0])
    expect(world.host.seen.length).toBe(before)
  } finally {
    world.trust(world.hostCa)
  }
})

test('a policy that no longer allows the host ends the connection to it', async () => {
  await begin()
  const ended = once(over, 'close')
  world.allow(['other.test'])
  try {
    await Promise.all([ended, closed(used[0])])
  } finally {
    world.allow(allHosts)
  }
})

test('a connection that is not used is closed after the time that the host has named, less a second', async () => {
  await begin((response) => response.writeHead(200, { 'keep-alive': 'timeout=2' }).end('ok'))
  expect(isOpen(used[0])).toBe(true)
  await closed(used[0])
  expect(await call()).toMatchObject({ status: 200 })
  expect(new Set(used).size).toBe(2)
})
