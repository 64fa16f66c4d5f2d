import type { EgressPolicy } from '@berth/protocol/gateway'
import { expect, test } from 'vitest'
import { auth, bothWays, get, limited, passwords, trapWorld, tunnelTo } from './traps/trap-world.ts'

const world = trapWorld()

test('passwords: none, a wrong one, another session’s, one of a session that has ended', async () => {
  await world.route({ type: 'limited', hosts: ['other.test'] }, 'b')
  const wrong = [
    '',
    auth('b'),
    'Proxy-Authorization: Bearer x\r\n',
    'Proxy-Authorization: Basic !\r\n',
    `Authorization: Basic ${Buffer.from(`x:${passwords.a}`).toString('base64')}\r\n`,
  ]
  await world.allRefused(
    wrong.flatMap((header) => [
      get('allowed.test').replace(auth(), header),
      tunnelTo('allowed.test:443').replace(auth(), header),
    ]),
  )
  await world.gateway.unroute('sesn_b')
  world.count((await world.send(get('other.test').replace(auth(), auth('b')), 'b')).status === 0)
  await world.allRefused([get('other.test').replace(auth(), auth('b'))])
})

test('a password is not good in the address, nor once another one has taken its place, and each try is on record', async () => {
  const inUrl = get('allowed.test').replace(auth(), '').replace('//', `//x:${passwords.a}@`)
  const twice = get('allowed.test').replace(auth(), auth('b') + auth())
  await world.allRefused([inUrl, twice])
  await world.route(limited, 'a', { credential: 'n'.repeat(43) })
  const stale = [get('allowed.test'), tunnelTo('allowed.test:443')]
  const close = [passwords.a.slice(1), `${passwords.a}a`, passwords.a.toUpperCase(), `${passwords.a}\n`].map(
    (password) =>
      get('allowed.test').replace(
        auth(),
        `Proxy-Authorization: Basic ${Buffer.from(`x:${password}`).toString('base64')}\r\n`,
      ),
  )
  await world.allRefused([...stale, ...close])
  const { decisions: records } = await world.gateway.egress('sesn_a', {
    before: undefined,
    limit: stale.length + close.length,
  })
  world.count(records.every(({ decision, reason }) => decision === 'deny' && reason === 'credential'))
  expect(records.map(({ reason }) => reason)).toEqual(Array(stale.length + close.length).fill('credential'))
})

test('400 changes of policy, wrong ones and ends of the session among them, let nothing through that none of them allows', async () => {
  const state = { isChanging: true }
  const seen = new Set<number>()
  const change = (async () => {
    // And more, where they have not yet come between two requests.
    for (let n = 0; n < 400 || !(seen.has(200) && seen.has(403)); n++) {
      if (n % 50 === 25) await world.gateway.unroute('sesn_a')
      await world.route(
        n % 3 === 0 ? { type: 'limited', hosts: [] } : { type: 'limited', hosts: ['allowed.test', `h${n}.test`] },
      )
      const wrong: EgressPolicy = { type: 'limited', hosts: [`${n}.*`] }
      if (n % 10 === 0) await expect(world.route(wrong)).rejects.toThrow(/canonical|Invalid/i)
    }
    state.isChanging = false
  })()
  while (state.isChanging) {
    const [denied, allowed] = await Promise.all([world.send(get('evil.test')), world.send(get('allowed.test'))])
    for (const { socket } of [denied, allowed]) socket.destroy()
    seen.add(allowed.status)
    // Or cut while it was being decided, or not there at the moment.
    world.count([0, 403, 503].includes(denied.status))
  }
  await change
  expect((await world.look()).asked).not.toContain('evil.test')
  // A change that is refused leaves the policy as it was.
  await world.route({ type: 'limited', hosts: ['allowed.test'] })
  await expect(world.route({ type: 'limited', hosts: ['*'] })).rejects.toThrow(/canonical|Invalid/i)
  world.count((await world.send(get('allowed.test'))).status === 200)
  await world.allRefused([get('evil.test')])
})

test('an empty list is nothing, and a route without a way out has none', async () => {
  await world.route({ type: 'limited', hosts: [] })
  await world.allRefused(bothWays(['allowed.test', 'a.wild.test', 'localhost', 'evil.test']))
})

test('a session that opens all it can has its limit, and takes nothing from another', async () => {
  await world.route(limited, 'b')
  const idle = await Promise.all(Array.from({ length: 300 }, () => world.send(tunnelTo('allowed.test:80'))))
  const counts = Map.groupBy(idle, ({ status }) => status)
  expect(counts.get(200)?.length).toBe(128)
  world.count((await world.send(get('allowed.test').replace(auth(), auth('b')), 'b')).status === 200)
  for (const { socket } of idle) socket.destroy()
})

test('all of it is on record', async () => {
  await world.allRefused(Array.from({ length: 1_000 }, (_, n) => get(`n${n}.evil.test`)))
  const { decisions } = await world.gateway.egress('sesn_a', { before: undefined, limit: 1000 })
  expect(decisions).toHaveLength(1000)
  expect(decisions.filter(({ decision, reason }) => (decision === 'allow') !== (reason === 'allowed'))).toEqual([])
})
