/** Requests that could be read as two: refused, or written anew, so that the host sees one at most, and that one in one way only. */
import { expect, test } from 'vitest'
import { requestsIn } from './traps/strict-http.ts'
import { auth, trapWorld, tunnelTo } from './traps/trap-world.ts'

const world = trapWorld()

const second = 'GET http://evil.test/second HTTP/1.1\r\nHost: evil.test\r\n\r\n'
const post = (headers: string, body: string): string =>
  `POST http://rogue.test/ok HTTP/1.1\r\nHost: rogue.test\r\n${auth()}${headers}\r\n${body}`
const chunked = (body: string, value = ' chunked'): string => post(`Transfer-Encoding:${value}\r\n`, body)
const sized = (value: string, body = 'abc'): string => post(`Content-Length:${value}\r\n`, body)

/** What the host may see of it: a body; undefined: nothing. */
const bodies: readonly [string, string, string | undefined][] = [
  ['a length', sized(' 3'), 'abc'],
  ['chunks', chunked('3\r\nabc\r\n0\r\n\r\n'), 'abc'],
  ['chunks in capitals', chunked('3\r\nabc\r\n0\r\n\r\n', ' CHUNKED'), 'abc'],
  ['chunks after a tab', chunked('3\r\nabc\r\n0\r\n\r\n', '\tchunked'), 'abc'],
  ['a length with spaces around it', sized('  3  '), 'abc'],
  ['a length with a tab', sized('\t3'), 'abc'],
  ['a length with zeros before it', sized(' 0003'), 'abc'],
  ['a length with a sign', sized(' +3'), undefined],
  ['a length below zero', sized(' -3'), undefined],
  ['a length in hex', sized(' 0x3'), undefined],
  ['a length twice in one line', sized(' 3, 3'), undefined],
  ['a length beyond all numbers', sized(' 99999999999999999999999'), undefined],
  ['a length of other digits', sized(' \xb3'), undefined],
  ['no length at all', sized(''), undefined],
  ['another coding', chunked('3\r\nabc\r\n0\r\n\r\n', ' xchunked'), undefined],
  ['a coding in quotes', chunked('3\r\nabc\r\n0\r\n\r\n', ' "chunked"'), undefined],
  ['two codings', chunked('3\r\nabc\r\n0\r\n\r\n', ' gzip, chunked'), undefined],
  ['chunked and identity', chunked('3\r\nabc\r\n0\r\n\r\n', ' chunked, identity'), undefined],
  ['chunked and nothing', chunked('3\r\nabc\r\n0\r\n\r\n', ' chunked,'), undefined],
  ['a space before the colon', chunked('3\r\nabc\r\n0\r\n\r\n').replace('Encoding:', 'Encoding :'), undefined],
  ['a line that goes on', chunked('3\r\nabc\r\n0\r\n\r\n', '\r\n chunked'), undefined],
  ['a carriage return in a header', post('X-A: b\rContent-Length: 3\r\n', 'abc'), undefined],
  ['a line feed in a header', post('X-A: b\nContent-Length: 3\r\n', 'abc'), undefined],
  ['a chunk size beyond all numbers', chunked(`FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n`), undefined],
  ['a chunk size with a sign', chunked('+3\r\nabc\r\n0\r\n\r\n'), undefined],
  ['a chunk size with 0x', chunked('0x3\r\nabc\r\n0\r\n\r\n'), undefined],
  ['a chunk size of nothing', chunked('\r\nabc\r\n0\r\n\r\n'), undefined],
  ['a chunk that is longer than its size', chunked('2\r\nabc\r\n0\r\n\r\n'), undefined],
  ['chunks ended by line feeds', chunked('3\nabc\n0\n\n'), undefined],
  ['an extension of a chunk', chunked('3;x="y"\r\nabc\r\n0\r\n\r\n'), 'abc'],
  ['an extension with a line end in quotes', chunked('3;x="\r\nabc\r\n0\r\n\r\n"\r\n'), undefined],
  ['an extension of 20 KB', chunked(`3;${'x'.repeat(20_000)}\r\nabc\r\n0\r\n\r\n`), undefined],
  ['a trailer with a password', chunked('3\r\nabc\r\n0\r\nAuthorization: x\r\n\r\n'), 'abc'],
  ['a trailer with a length', chunked('3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n'), undefined],
  ['a body that nobody waited for', post('Content-Length: 3\r\nExpect: 100-continue\r\n', 'abc'), 'abc'],
  [
    'a connection that takes the length along',
    post('Connection: content-length\r\nContent-Length: 3\r\n', 'abc'),
    undefined,
  ],
  [
    'a connection that takes a key along',
    post('Connection: x-api-key\r\nX-Api-Key: k\r\nContent-Length: 3\r\n', 'abc'),
    undefined,
  ],
  ['an upgrade to HTTP/2', post('Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n', 'abc'), undefined],
]
test.each(bodies)('%s', async (_, bytes, body) => {
  const before = (await world.visits()).length
  using talk = await world.talk()
  talk.say(bytes)
  const heard = await talk.until(/\r\n\r\nok$/)
  const visits = (await world.visits()).slice(before)
  const isHeld = visits.length <= 1 && visits.every(({ text }) => isOneRequest(text))
  world.count(isHeld)
  expect(
    visits
      .map(({ text }) => text)
      .join('\n')
      .toLowerCase(),
  ).not.toMatch(/authorization|expect|evil|x-api-key|;x|; ?"/)
  if (body === undefined) {
    // Begun at most, where the fault comes after the head, and never ended: a host that keeps to its length waits for the rest in vain.
    expect(heard).not.toContain('HTTP/1.1 200')
    expect(visits.every(({ text }) => !isWhole(text))).toBe(true)
  } else {
    expect(visits.map(({ text }) => requestsIn(text).map((message) => message.body))).toEqual([[body]])
    expect(heard).toContain('HTTP/1.1 200')
  }
  expect((await world.look()).asked).not.toContain('evil.test')
})

const followed: readonly [string, string, string][] = [
  ['another request behind the last chunk', chunked(`3\r\nabc\r\n0\r\n\r\n${second}`), 'abc'],
  ['another request behind the length', sized(' 3', `abc${second}`), 'abc'],
  ['another request in a body of no length', post('', second), ''],
]
test.each(followed)('%s is none, and ends the connection', async (_, bytes, body) => {
  const before = (await world.visits()).length
  using talk = await world.talk()
  talk.say(bytes)
  const heard = await talk.end()
  const seen = (await world.visits()).slice(before).flatMap(({ text }) => (isWhole(text) ? requestsIn(text) : []))
  world.count(seen.length <= 1)
  expect(seen.filter((message) => message.body !== body)).toEqual([])
  expect(heard.match(/HTTP\/1\.1 2/g)?.length ?? 0).toBeLessThanOrEqual(1)
  expect((await world.look()).asked).not.toContain('evil.test')
})

const isWhole = (text: string): boolean => {
  try {
    return requestsIn(text).length > 0
  } catch {
    return false
  }
}
/** One, or the beginning of one. */
const isOneRequest = (text: string): boolean =>
  (isWhole(text) ? requestsIn(text).length : 1) === 1 && (text.match(/ HTTP\/1\.1\r\n/g) ?? []).length <= 1

const lines: readonly [string, string][] = [
  ['a tab after the method', 'GET\thttp://rogue.test/ok HTTP/1.1'],
  ['a space at the end', 'GET http://rogue.test/ok HTTP/1.1 '],
  ['a space in the path', 'GET http://rogue.test/ok HTTP/1.1\tHTTP/1.1'],
  ['a method in small letters', 'get http://rogue.test/ok HTTP/1.1'],
  ['a version in small letters', 'GET http://rogue.test/ok http/1.1'],
  ['version 1.2', 'GET http://rogue.test/ok HTTP/1.2'],
  ['version 0.9', 'GET http://rogue.test/ok'],
  ['a fragment', 'GET http://rogue.test/ok#x HTTP/1.1'],
  ['a backslash for a slash', 'GET http:\\\\rogue.test\\ok HTTP/1.1'],
  ['a backslash in the path', 'GET http://rogue.test/a\\..\\ok HTTP/1.1'],
  ['one slash', 'GET http:/rogue.test/ok HTTP/1.1'],
  ['a scheme in capitals', 'GET HTTP://rogue.test/ok HTTP/1.1'],
  ['another scheme', 'GET ftp://rogue.test/ok HTTP/1.1'],
  ['a byte above ASCII in the path', 'GET http://rogue.test/\xe9 HTTP/1.1'],
  ['a control character in the path', 'GET http://rogue.test/\x01 HTTP/1.1'],
]
test('request lines that two parsers could take apart in two ways', async () => {
  const rest = `\r\nHost: rogue.test\r\n${auth()}Connection: close\r\n\r\n`
  const before = (await world.visits()).length
  await world.allRefused(lines.map(([, line]) => line + rest))
  expect((await world.visits()).length).toBe(before)
})

test('inside of a tunnel, every request has to be for its host, also the second', async () => {
  const inside = (host: string, more = ''): string => `GET /ok HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`
  for (const wrong of [
    inside('allowed.test'),
    inside('rogue.test:443'),
    inside('rogue.test', 'Host: allowed.test\r\n'),
    inside('rogue.test').replace('/ok', 'http://allowed.test/ok'),
    inside('rogue.test').replace('GET /ok', 'CONNECT allowed.test:443'),
    inside('rogue.test').replace('GET', 'TRACE'),
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  ]) {
    const [before, reached] = [(await world.visits()).length, (await world.look()).reached.length]
    using talk = await world.talk()
    talk.say(tunnelTo('rogue.test:80'))
    await talk.until(/200 Connection Established\r\n\r\n/)
    talk.say(inside('rogue.test'))
    await talk.until(/\r\n\r\nok$/)
    talk.say(wrong)
    const heard = await talk.end()
    // One for the tunnel, from which nothing is said, and one for the request.
    const texts = (await world.visits()).slice(before).map(({ text }) => text)
    world.count(texts.filter((text) => text !== '').length === 1)
    expect(heard.slice(heard.indexOf('\r\n\r\nok'))).toMatch(/\r\n\r\nokHTTP\/1\.1 4\d\d /)
    expect((await world.look()).reached.length).toBe(reached)
  }
})
