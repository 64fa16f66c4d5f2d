/** Clients that take all they can get and give nothing back: each session has its share, a neighbour notices nothing, and nothing is left of it. */
import { expect, test } from 'vitest'
import { waitUntil } from '../harness/wait-until.ts'
import type { Talk } from './traps/talk.ts'
import { auth, get, limited, trapWorld, tunnelTo } from './traps/trap-world.ts'

const world = trapWorld()

const MEBIBYTE = 1024 * 1024
/** What the gateway may weigh more while all this goes on. */
const ALLOWED = 160 * MEBIBYTE
/** Connections of one session. */
const CONNECTIONS = 256

async function neighbourIsServed(): Promise<void> {
  await world.route(limited, 'b')
  const { status, socket } = await world.send(get('allowed.test').replace(auth(), auth('b')), 'b')
  socket.destroy()
  world.count(status === 200)
  expect(status).toBe(200)
}

async function crowd(size: number, bytes: string): Promise<Talk[]> {
  const talks = await Promise.all(Array.from({ length: size }, () => world.talk()))
  for (const talk of talks) talk.say(bytes)
  return talks
}

const isOpen = ({ socket }: Talk): boolean => !socket.closed

async function left(talks: readonly Talk[]): Promise<void> {
  for (const talk of talks) talk[Symbol.dispose]()
  await waitUntil('the session is served again', async () => (await world.send(get('allowed.test'))).status === 200)
}

const slow: readonly [string, string][] = [
  ['connections on which nothing is said', ''],
  ['line ends', '\r\n'.repeat(10_000)],
  ['requests that do not come to an end', get('allowed.test').slice(0, -30)],
  ['tunnels in which nothing is said', tunnelTo('allowed.test:443')],
  ['tunnels in which a hello does not come to an end', `${tunnelTo('allowed.test:443')}\x16\x03\x01\x02\x00\x01`],
  ['tunnels in which a request does not come to an end', `${tunnelTo('allowed.test:80')}GET / HTTP/1.1\r\nHost: all`],
]
test('slowness of every kind: a neighbour is served, the rest of the session, too, and each has its end', async () => {
  const before = await world.weight()
  const talks = await Promise.all(slow.map(([, bytes]) => crowd(30, bytes)))
  await neighbourIsServed()
  world.count((await world.send(get('allowed.test'))).status === 200)
  for (const [index, [name]] of slow.entries()) {
    const all = await Promise.all(talks[index]?.map((talk) => talk.end()) ?? [])
    const heard = new Set(all.map((text) => text.replace('HTTP/1.1 200 Connection Established\r\n\r\n', '')))
    world.count(all.length === 30 && ![...heard].some((text) => text.includes(' 200 ')))
    expect(`${name}: ${[...heard].join()}`).not.toMatch(/reached| 200 /)
  }
  expect((await world.weight()).memory - before.memory).toBeLessThan(ALLOWED)
})

test.each([
  [
    'a header of 1 MB',
    `GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n${auth()}X: ${'a'.repeat(MEBIBYTE)}\r\n\r\n`,
  ],
  [
    'a name of 1 MB',
    `GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n${auth()}${'a'.repeat(MEBIBYTE)}: x\r\n\r\n`,
  ],
  [
    'a target of 1 MB',
    `GET http://allowed.test/${'a'.repeat(MEBIBYTE)} HTTP/1.1\r\nHost: allowed.test\r\n${auth()}\r\n`,
  ],
  ['a method of 1 MB', `${'A'.repeat(MEBIBYTE)} http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n${auth()}\r\n`],
  [
    '10,000 headers',
    `GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n${auth()}${'X: a\r\n'.repeat(10_000)}\r\n`,
  ],
  ['101 headers', `GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n${auth()}${'X: a\r\n'.repeat(99)}\r\n`],
  ['1 MB of zeros', '\0'.repeat(MEBIBYTE)],
])('%s is refused', async (_, bytes) => {
  await world.allRefused([bytes])
})

test('1,000 requests in one breath are one at most', async () => {
  const before = (await world.look()).reached.length
  using talk = await world.talk()
  talk.say(get('allowed.test').replace('Connection: close\r\n', '').repeat(1_000))
  await talk.end()
  const reached = (await world.look()).reached.length - before
  world.count(reached <= 1)
  expect(reached).toBeLessThanOrEqual(1)
})

test('10,000 connections of one session: it has its limit, a neighbour is served, and nothing is left open', async () => {
  await neighbourIsServed()
  const before = await world.weight()
  const heaviest = { memory: 0, files: 0 }
  const held: Talk[] = []
  for (let n = 0; n < 10_000; n += 500) {
    held.push(...(await crowd(500, tunnelTo('allowed.test:80'))))
    const now = await world.weight()
    heaviest.memory = Math.max(heaviest.memory, now.memory)
    heaviest.files = Math.max(heaviest.files, now.files)
    await waitUntil('those that are too many are turned away', () => held.filter(isOpen).length <= CONNECTIONS)
    if (n % 2_500 === 0) await neighbourIsServed()
    for (const talk of held.filter((one) => !isOpen(one))) talk[Symbol.dispose]()
  }
  // Those of the session and, of 128 of them, the other side of their tunnels.
  expect(heaviest.files - before.files).toBeLessThan(CONNECTIONS + 128 + 64)
  expect(heaviest.memory - before.memory).toBeLessThan(ALLOWED)
  await left(held)
  await waitUntil('nothing is left open', async () => (await world.weight()).files <= before.files + 8)
})

test('500 clients that go away in the middle leave nothing behind', async () => {
  await neighbourIsServed()
  const { files } = await world.weight()
  const ways = [
    tunnelTo('allowed.test:80'),
    `${tunnelTo('allowed.test:443')}\x16\x03\x01`,
    `${tunnelTo('rogue.test:80')}GET /body-without-end HTTP/1.1\r\nHost: rogue.test\r\n\r\n`,
    get('rogue.test').replace('test/ ', 'test/body-without-end '),
    get('allowed.test').slice(0, -2),
  ]
  for (let n = 0; n < 10; n++) {
    const talks = (await Promise.all(ways.map((bytes) => crowd(10, bytes)))).flat()
    await world.look()
    for (const talk of talks) talk[Symbol.dispose]()
  }
  await waitUntil('all is closed', async () => (await world.weight()).files <= files + 8)
  await waitUntil('the hosts are left', async () => (await world.visits()).every((visit) => !visit.isOpen))
  await neighbourIsServed()
  const all = await crowd(128, tunnelTo('allowed.test:80'))
  const heads = await Promise.all(all.map((talk) => talk.until(/\r\n\r\n/)))
  world.count(heads.every((head) => head.startsWith('HTTP/1.1 200 ')))
  expect(heads.filter((head) => !head.startsWith('HTTP/1.1 200 '))).toEqual([])
  for (const talk of all) talk[Symbol.dispose]()
})
