import { once } from 'node:events'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { draftEncryptedHello, encryptedHello, hello, padding, serverName, serverNameOfKind } from './traps/hello.ts'
import { trapWorld, tunnelTo } from './traps/trap-world.ts'

const world = trapWorld()

/** A good hello in two records, and something between them. */
const between = (bytes: Buffer): Buffer => {
  const parts = hello([serverName('allowed.test')], 60)
  return Buffer.concat([parts.subarray(0, 65), bytes, parts.subarray(65)])
}
/** The last extension ends in the middle, while all lengths around it are as they were. */
const cutShort = (bytes: Buffer): Buffer => {
  const cut = Buffer.from(bytes)
  cut.writeUInt16BE(13, cut.length - 'allowed.test'.length - 2)
  return cut
}

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
  ['a name of another kind', hello([serverNameOfKind(1, 'allowed.test')])],
  ['names in an empty list', hello([serverName()])],
  ['a name whose length says more than there is', cutShort(hello([serverName('allowed.test')]))],
  ['a name with a space before it', hello([serverName(' allowed.test')])],
  ['a name in other letters', hello([serverName('\xe0llowed.test')])],
  ['a name below the host', hello([serverName('a.allowed.test')])],
  ['the encrypted hello of a draft', hello([serverName('allowed.test'), draftEncryptedHello])],
  ['a hello of before extensions', hello(undefined)],
  ['a hello of SSL 2', Buffer.from([0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10])],
  ['a change of ciphers between the parts of a hello', between(Buffer.from([20, 3, 3, 0, 1, 1]))],
  ['an alert between the parts of a hello', between(Buffer.from([21, 3, 3, 0, 2, 1, 112]))],
  ['an empty record between the parts of a hello', between(Buffer.from([22, 3, 3, 0, 0]))],
  [
    'early data behind the hello',
    Buffer.concat([hello([serverName('allowed.test')]), Buffer.from([23, 3, 3, 0, 4, 1, 2, 3, 4])]),
  ],
  ['a message that is no hello', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
  ['a hello that announces 16 MB', Buffer.from([22, 3, 1, 0, 8, 1, 0xff, 0xff, 0xff, 3, 3, 0, 0])],
  ['a record that announces 64 KB', Buffer.from([22, 3, 1, 0xff, 0xff, 1, 0, 0, 4, 3, 3, 0, 0])],
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

/** What the server says to it, which cannot make use of such a hello. */
async function answerTo(pieces: readonly Buffer[]): Promise<number | undefined> {
  const { socket } = await world.send(tunnelTo('allowed.test:443'))
  const answered = once(socket, 'data')
  for (const piece of pieces) {
    socket.write(piece)
    // Each goes out by itself.
    await new Promise((resolve) => setImmediate(resolve))
  }
  const [answer] = await answered
  socket.destroy()
  return z.instanceof(Buffer).parse(answer)[0]
}

const pieces = (bytes: Buffer): Buffer[] => [...bytes].map((byte) => Buffer.from([byte]))
test.each([
  ['one byte per packet', pieces(hello([serverName('allowed.test')]))],
  ['one byte per packet, in records of 100', pieces(hello([serverName('allowed.test')], 100))],
  ['records of one byte', [hello([serverName('allowed.test')], 1)]],
  ['its name in capitals', [hello([serverName('ALLOWED.Test')])]],
  ['16 KB', [hello([serverName('allowed.test'), padding(16_000)], 16_000)]],
])('a hello that comes as %s is read whole, and passes', async (_, sent) => {
  const first = await answerTo(sent)
  world.count(first === 21 || first === 22)
  expect([21, 22]).toContain(first)
})
