import { expect, test } from 'vitest'
import { bothWays, get, trapWorld, tunnelTo, unrestricted } from './traps/trap-world.ts'
import { forbidden } from './traps/zone.ts'

const world = trapWorld()

test.each([
  ['limited', true],
  ['unrestricted', false],
])('names that lead to forbidden addresses, alone and among good ones, %s', async (_, isLimited) => {
  const names = forbidden.flatMap((_address, index) => [`f${index}.test`, `m${index}.test`])
  await world.route(isLimited ? { type: 'limited', hosts: names } : unrestricted)
  await world.allRefused(
    names.flatMap((name) => [get(name), tunnelTo(`${name}:443`)]),
    { lookups: names.length },
  )
  await world.allRefused(isLimited ? [] : bothWays(['metadata.google.internal']), { lookups: isLimited ? 0 : 1 })
})

test('one address of two families that is not public, an address of this machine, a name that stands for one inside', async () => {
  const names = ['four.test', 'six.test', 'self.test', 'alias.test']
  for (const policy of [{ type: 'limited', hosts: names } as const, unrestricted]) {
    await world.route(policy)
    await world.allRefused(bothWays(names), { lookups: names.length })
  }
})

test('an allowed host is looked up once, and one of its addresses dialled, for a request as for a tunnel', async () => {
  for (const bytes of bothWays(['allowed.test'])) {
    const before = (await world.look()).asked.length
    const { status, socket } = await world.send(bytes)
    socket.destroy()
    const asked = (await world.look()).asked.slice(before)
    // For its addresses of both families.
    world.count(status === 200 && asked.length === 2)
    expect([status, asked]).toEqual([200, ['allowed.test', 'allowed.test']])
  }
})

test('the traps see who comes', async () => {
  // That nothing is seen elsewhere is then not for want of eyes.
  expect(await world.eyes()).toContain('10.0.0.1 443')
})

test('a name whose address changes between look-ups', async () => {
  const statuses = new Set<number>()
  for (let n = 0; n < 60; n++) {
    const { status, socket } = await world.send(n % 2 === 0 ? get('rebind.test') : tunnelTo('rebind.test:80'))
    socket.destroy()
    statuses.add(status)
    world.count(status === 200 || status === 403)
  }
  expect(statuses).toEqual(new Set([200, 403]))
  expect((await world.look()).hits).toEqual([])
})

test('names as a way to say something to a DNS server', async () => {
  const names = Array.from({ length: 500 }, (_, n) => `secret-${n}.evil.test`)
  await world.allRefused(names.flatMap((name) => [get(name), tunnelTo(`${name}:443`)]))
  const socks = (name: string): Buffer =>
    Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0, 3, name.length]), Buffer.from(name), Buffer.from([1, 187])])
  await world.allRefused(names.slice(0, 20).map(socks))
})

test('ports that nobody allowed', async () => {
  await world.allRefused(
    [22, 25, 3128, 5432, 6379, 8080, 8443, 1, 65_535].map((port) => tunnelTo(`allowed.test:${port}`)),
  )
  await world.route(unrestricted)
  await world.allRefused([22, 25, 1, 81, 1023].map((port) => tunnelTo(`allowed.test:${port}`)))
})

test('an answer that leads elsewhere is not followed', async () => {
  const { status, answer } = await world.send(get('allowed.test').replace('test/ ', 'test/away '))
  world.count(status === 302 && (await world.look()).hits.length === 0)
  expect(answer).toContain('http://127.0.0.1/inside')
})
