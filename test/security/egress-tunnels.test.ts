import { once } from 'node:events'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { encryptedHello, hello, padding, serverName } from './traps/hello.ts'
import { trapWorld, tunnelTo } from './traps/trap-world.ts'

const world = trapWorld()

const wrongHellos: readonly [string, Buffer][] = [
  ['another name', hello([serverName('other.test')])],
  ['no name', hello([])],
  ['an empty name', hello([serverName('')])],
  ['two names', hello([serverName('allowed.test', 'other.test')])],
  ['the name twice', hello([serverName('allowed.test'), serverName('other.test')])],
  ['a name with NUL', hello([serverName('allowed.test\0.other.test')])],
  ['a name with a dot at its end', hello([serverName('allowed.test.')])],
  ['an address', hello([serverName('127.0.0.1')])],
  ['an encrypted name', hello([serverName('allowed.test'), encryptedHello])],
  ['a hello of 20 KB', hello([serverName('allowed.test'), padding(20_000)], 4_000)],
  ['another name, in records of one byte', hello([serverName('other.test')], 1)],
  ['no TLS', Buffer.from('GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n')],
  ['SSH', Buffer.from('SSH-2.0-x\r\n')],
  ['an alert', Buffer.from([21, 3, 1, 0, 2, 1, 0])],
  ['a record of no length', Buffer.from([22, 3, 1, 0, 0])],
  ['more than a hello', Buffer.concat([hello([serverName('allowed.test')]), hello([serverName('allowed.test')])])],
]
test.each(wrongHellos)('a tunnel in which is said: %s', async (_, bytes) => {
  const { status, socket } = await world.send(tunnelTo('allowed.test:443'))
  expect(status).toBe(200)
  const got: Buffer[] = []
  socket.on('data', (chunk: Buffer) => got.push(chunk))
  socket.write(bytes)
  if (!socket.closed) await once(socket, 'close')
  // Nothing but the proxy's own alert has come back: no server has seen the hello.
  const answer = Buffer.concat(got)
  world.count(answer.length === 0 || answer.equals(Buffer.from([21, 3, 3, 0, 2, 2, 112])))
  expect(answer.length).toBeLessThanOrEqual(7)
  expect((await world.look()).hits).toEqual([])
})

test('a tunnel whose hello comes byte by byte passes', async () => {
  const { socket } = await world.send(tunnelTo('allowed.test:443'))
  const answered = once(socket, 'data')
  for (const byte of hello([serverName('allowed.test')], 100)) socket.write(Buffer.from([byte]))
  const [answer] = await answered
  // Of the server, which cannot make use of this hello.
  expect(z.instanceof(Buffer).parse(answer)[0]).toBe(21)
  socket.destroy()
})
