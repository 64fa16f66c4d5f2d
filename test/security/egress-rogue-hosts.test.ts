/** Hosts that may be reached and abuse it: what they say harms neither the gateway nor the next request of the connection. */
import { expect, test } from 'vitest'
import { auth, get, limited, trapWorld } from './traps/trap-world.ts'
import { waitUntil } from '../harness/wait-until.ts'

const world = trapWorld()

const MEBIBYTE = 1024 * 1024
/** Of eight connections of which nobody reads: what one read of each brings, as single bytes, and what is not collected yet. */
const UNREAD = 192 * MEBIBYTE
const ask = (path: string, { method = 'GET', more = '' } = {}): string =>
  `${method} http://rogue.test${path} HTTP/1.1\r\nHost: rogue.test\r\n${auth()}${more}\r\n`
const next = get('allowed.test')
const handshake =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'

/** What is heard of each, and that the connection is then the same as before. */
const passed: readonly [string, string, RegExp][] = [
  ['hints before the answer', ask('/hints'), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/],
  ['more than it announced', ask('/more-than-length'), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/],
  ['more behind the last chunk', ask('/after-last-chunk'), /^HTTP\/1\.1 200 OK\r\n[^]*ok\r\n0\r\n\r\n$/],
  ['trailers', ask('/trailers'), /^HTTP\/1\.1 200 OK\r\n[^]*ok\r\n0\r\n\r\n$/],
  ['a body where there is none: HEAD', ask('/head', { method: 'HEAD' }), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n$/],
  ['a body where there is none: 204', ask('/no-content'), /^HTTP\/1\.1 204 No Content\r\n[^]*\r\n\r\n$/],
  ['a body where there is none: 304', ask('/not-modified'), /^HTTP\/1\.1 304 Not Modified\r\n[^]*\r\n\r\n$/],
  ['words for the status with a control character', ask('/odd-reason'), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/],
  ['another version', ask('/http-2'), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/],
  ['headers of the connection', ask('/names-headers'), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/],
]
test.each(passed)('%s: the answer ends where it ends, and the next request has its own', async (_, request, whole) => {
  const before = (await world.visits()).length
  using talk = await world.talk()
  talk.say(request)
  const first = await talk.until(whole)
  talk.say(next)
  const both = await talk.end()
  world.count(!/smuggled/i.test(both))
  expect(first).toMatch(whole)
  expect(both).not.toMatch(/smuggled|proxy-authenticate|103 Early|100 Continue/i)
  expect(both.slice(first.length)).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nreached$/)
  expect((await world.visits()).length).toBe(before + 1)
})

const refused = [
  '/unasked-switch',
  '/bare-cr',
  '/bare-lf',
  '/folded',
  '/nul',
  '/no-colon',
  '/space-name',
  '/two-lengths',
  '/length-and-chunks',
  '/no-status',
  '/low-status',
  '/long-status',
  '/old',
  '/many-headers',
  '/header-without-end',
  '/line-without-end',
  '/hints-without-end',
  '/cut-at-once',
  '/cut-in-head',
]
test.each(refused)('no answer at all: %s', async (path) => {
  using talk = await world.talk()
  talk.say(ask(path))
  const heard = await talk.end()
  world.count(!/smuggled/i.test(heard))
  expect(heard).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n[^]*x-berth-egress: unreachable/)
  expect(heard).not.toMatch(/smuggled|set-cookie/i)
  await waitUntil('the host is left', async () => (await world.visits()).at(-1)?.isOpen === false)
})

const broken: readonly [string, RegExp][] = [
  ['/huge-chunk', /^$|^HTTP\/1\.1 200 /],
  ['/negative-chunk', /^$|^HTTP\/1\.1 200 /],
  ['/cut-in-length', /^HTTP\/1\.1 200 OK\r\n[^]*begun$/],
  ['/cut-in-stream', /^HTTP\/1\.1 200 OK\r\n[^]*data: 1\n\n\r\n$/],
  ['/cut-in-chunk', /^HTTP\/1\.1 200 OK\r\n[^]*begun\r\n$/],
  ['/cut-without-length', /^HTTP\/1\.1 200 OK\r\n[^]*data: 1\n\n\r\n$/],
]
test.each(broken)('an answer that breaks off is not made whole: %s', async (path, heard) => {
  using talk = await world.talk()
  talk.say(ask(path))
  const all = await talk.end()
  const isWhole = all.endsWith('\r\n0\r\n\r\n')
  world.count(!isWhole && !/smuggled/i.test(all))
  expect(all).toMatch(heard)
  expect(all).not.toMatch(/smuggled|\r\n0\r\n\r\n$/i)
})

test('a WebSocket that the host has not taken, or an answer in its place', async () => {
  for (const [path, status] of [
    ['/wrong-accept', 502],
    ['/unasked-switch', 502],
    ['/more-than-length', 200],
    ['/bare-cr', 502],
  ] as const) {
    using talk = await world.talk()
    talk.say(ask(path, { more: handshake }))
    const heard = await talk.end()
    world.count(!/smuggled/i.test(heard))
    expect(heard).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(heard).not.toMatch(/smuggled/i)
  }
})

test('a compressed answer is passed on as it is', async () => {
  using talk = await world.talk()
  talk.say(ask('/bomb', { more: 'Connection: close\r\n' }))
  const heard = await talk.end()
  world.count(heard.length < 16 * 1024)
  expect(heard).toMatch(/content-encoding: gzip/i)
  expect(heard.length).toBeLessThan(16 * 1024)
})

test.each(['/body-without-end', '/chunks-without-end'])(
  'an answer without an end that nobody reads costs little: %s',
  async (path) => {
    await world.route(limited, 'b')
    const before = await world.weight()
    const talks = await Promise.all(Array.from({ length: 8 }, () => world.talk()))
    const visits = (await world.visits()).length
    for (const talk of talks) {
      talk.socket.pause()
      talk.say(ask(path))
    }
    const written = async (): Promise<number> =>
      (await world.visits()).slice(visits).reduce((sum, visit) => sum + visit.written, 0)
    await waitUntil('the hosts can write no more', async () => {
      const now = await written()
      // A neighbour is served, which takes its time.
      const { status } = await world.send(next.replace(auth(), auth('b')), 'b')
      world.count(status === 200)
      return (await world.visits()).length === visits + 8 && now > MEBIBYTE && (await written()) === now
    })
    const after = await world.weight()
    world.count(after.memory - before.memory < UNREAD)
    expect(after.memory - before.memory).toBeLessThan(UNREAD)
    for (const talk of talks) talk[Symbol.dispose]()
    await waitUntil('the hosts are left', async () => (await world.visits()).every(({ isOpen }) => !isOpen))
  },
)

test.each([
  ['large chunks', `10000\r\n${'x'.repeat(0x10000)}\r\n`],
  ['single bytes', '1\r\nx\r\n'.repeat(10_000)],
])('a host that reads nothing stops the client, not the gateway: %s', async (_, piece) => {
  const before = await world.weight()
  using talk = await world.talk()
  talk.say(ask('/deaf', { method: 'POST', more: 'Transfer-Encoding: chunked\r\n' }))
  let sent = 0
  await waitUntil('the client can send no more', async () => {
    for (; talk.socket.writableLength < 2 * MEBIBYTE && sent < 512 * MEBIBYTE; sent += piece.length) talk.say(piece)
    const left = talk.socket.writableLength
    await world.look()
    return talk.socket.writableLength === left && left >= 2 * MEBIBYTE
  })
  world.count(sent < 64 * MEBIBYTE)
  expect(sent).toBeLessThan(64 * MEBIBYTE)
  expect((await world.weight()).memory - before.memory).toBeLessThan(128 * MEBIBYTE)
})

test('redirects to everywhere are answers like others, and lead the gateway nowhere', async () => {
  const before = await world.look()
  const { status, answer } = await world.send(get('allowed.test').replace('test/ ', 'test/away '))
  world.count(status === 302 && answer.includes('http://127.0.0.1/inside'))
  expect((await world.look()).hits).toEqual([])
  expect((await world.look()).asked.slice(before.asked.length)).toEqual(['allowed.test', 'allowed.test'])
})
