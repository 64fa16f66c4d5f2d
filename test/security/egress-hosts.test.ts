import { expect, test } from 'vitest'
import { auth, bothWays, get, limited, trapWorld, tunnelTo, unrestricted } from './traps/trap-world.ts'
import { forbidden } from './traps/zone.ts'

const world = trapWorld()

test('the world is real: an allowed host is reached, a trap records, DNS is asked', async () => {
  const { status, answer } = await world.send(get('allowed.test'))
  expect([status, answer]).toEqual([200, expect.stringContaining('reached')])
  expect((await world.look()).asked).toContain('allowed.test')
  // What the traps would have seen, had the gateway let it out: the same look-up without the rule about addresses.
  expect(forbidden.length).toBeGreaterThan(35)
})

const numeric = [
  '2130706433',
  '0x7f000001',
  '0177.0.0.1',
  '127.1',
  '0',
  '127.0.0.1',
  '0x7f.1',
  '1',
  '169.254.169.254',
  '93.184.215.14',

  '[::]',
  '[::1]',
  '[::ffff:7f00:1]',
  '[::ffff:127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
  'fe80::1%lo',
  '[fe80::1%25lo]',
  '①②⑦.⓪.⓪.①',
  '127。0。0。1',
  '127.0.0.1.',
  '0x7f.0x0.0x0.0x1',
  '127.0.0.0x1',
  '[2606:2800:21f:cb07::1]',
]
test.each([
  ['limited', limited],
  ['unrestricted', unrestricted],
])('addresses and numbers as hosts, %s', async (_, policy) => {
  await world.route(policy)
  await world.allRefused(bothWays(numeric.map((host) => Buffer.from(host).toString('latin1'))))
})

test('hosts with bytes that a resolver stops at, or that another parser takes for an end', async () => {
  const marks = [
    '\0',
    '%00',
    '\r',
    '\n',
    '\t',
    ' ',
    '\x7f',
    '@',
    '/',
    '\\',
    '#',
    '?',
    ';',
    ',',
    '\xad',
    '_',
    '*',
    '%2e',
    '%0d%0a',
    '..',
  ]
  await world.allRefused(marks.flatMap((mark) => bothWays([`evil.test${mark}allowed.test`])))
  // A space before it is one between the method and it.
  await world.allRefused(marks.filter((mark) => mark !== ' ').flatMap((mark) => bothWays([`${mark}allowed.test`])))
  await world.allRefused(
    bothWays([
      `${'a'.repeat(64)}.wild.test`,
      `${'a.'.repeat(130)}wild.test`,
      '.wild.test',
      '-a.wild.test',
      'a..wild.test',
    ]),
  )
})

test('hosts that look like allowed ones', async () => {
  await world.allRefused(
    bothWays([
      'evilallowed.test',
      'allowed.test.evil.test',
      'a.allowed.test',
      'wild.test',
      'xwild.test',
      'allowed-test',
      'allowed.tes',
      'allowed.test.',
      'allowedxtest',
      'xn--llowed-cta.test',
      'alloẃed.test',
      'allowed.test:443.evil.test',
    ]),
  )
})

test('authorities that can be read in two ways', async () => {
  const ports = [
    'allowed.test:443@evil.test:80',
    'allowed.test:443:80',
    'allowed.test:0',
    'allowed.test:65536',
    'allowed.test:0443',
    'allowed.test:+443',
    'allowed.test:',
    'user@allowed.test:443',
    'evil.test#@allowed.test:443',
    'allowed.test:4e2',
  ]
  await world.allRefused(ports.flatMap((authority) => [tunnelTo(authority), get(authority)]))
  await world.allRefused([
    `CONNECT allowed.test HTTP/1.1\r\n${auth()}\r\n`,
    `CONNECT http://allowed.test/ HTTP/1.1\r\n${auth()}\r\n`,
  ])
})

test('requests that name two hosts', async () => {
  await world.allRefused([
    get('evil.test', 'allowed.test'),
    get('allowed.test', 'evil.test'),
    get('allowed.test').replace('Host:', 'Host: evil.test\r\nHost:'),
    get('allowed.test').replace('Host: allowed.test', 'Host: allowed.test\r\n evil.test'),
    get('allowed.test').replace('Host:', 'Host :'),
    `CONNECT allowed.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n${auth()}\r\n`,
    `GET / HTTP/1.1\r\nHost: allowed.test\r\n${auth()}\r\n`,
    `GET //evil.test/ HTTP/1.1\r\nHost: allowed.test\r\n${auth()}\r\n`,
  ])
})

test('requests that end where another parser would go on', async () => {
  const post = (more: string, body = ''): string =>
    `POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n${auth()}${more}\r\n${body}`
  await world.allRefused([
    post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\nGET http://evil.test/ HTTP/1.1\r\n\r\n'),
    post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'),
    post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'),
    post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    post('Content-Length: 1\r\nContent-Length: 2\r\n', 'ab'),
    post('Content-Length: +1\r\n', 'a'),
    post('Connection: x-api-key\r\n'),
    post('Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n'),
    get('allowed.test').replaceAll('\r\n', '\n'),
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    Buffer.from([5, 1, 0, 5, 1, 0, 3, 9]),
    get('allowed.test').replace('GET', 'TRACE'),
    get('allowed.test').replace('GET', 'TRACK'),
    `OPTIONS * HTTP/1.1\r\nHost: allowed.test\r\n${auth()}\r\n`,
  ])
})
