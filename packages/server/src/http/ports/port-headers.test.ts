import { describe, expect, it } from 'vitest'
import { cookieValues, forBrowser, forServer, type Header } from './port-headers.ts'
import { takeToken } from './target.ts'

const passing = { secret: new Set(['x-api-key']), cookie: 'berth-port', isSecure: false, host: 'h' }
const ours: Header[] = [
  ['x-forwarded-proto', 'http'],
  ['x-forwarded-host', 'h'],
]

describe('to the agent’s server', () => {
  it.each<[string, Header, Header[]]>([
    ['a secret', ['X-Api-Key', 'berth_1'], []],
    ['an application’s own', ['Authorization', 'Basic x'], [['Authorization', 'Basic x']]],
    ['our cookie alone', ['Cookie', 'berth-port=t'], []],
    ['our cookie among others', ['Cookie', 'a=1; berth-port=t;berth-port=u; b=2'], [['Cookie', 'a=1; b=2']]],
    ['our cookie with spaces', ['cookie', ' berth-port =t'], []],
    ['a cookie like ours', ['Cookie', 'berth-port2=t'], [['Cookie', 'berth-port2=t']]],
    ['a page’s signed URL', ['Referer', 'http://h/?berth_token=x'], []],
    ['a proxy’s word', ['X-Forwarded-For', '1.2.3.4'], []],
    ['a connection’s', ['Proxy-Authorization', 'x'], []],
    ['chunks', ['Transfer-Encoding', 'chunked'], []],
    ['a length', ['Content-Length', '3'], [['Content-Length', '3']]],
  ])('%s', (_name, header, passed) => {
    expect(forServer([header], passing)).toEqual([...passed, ...ours])
  })

  it('not what the connection names', () => {
    const headers: Header[] = [
      ['Connection', 'close, X-Mine'],
      ['x-mine', '1'],
      ['connection', 'other'],
      ['Other', '2'],
      ['x', '3'],
    ]
    expect(forServer(headers, passing)).toEqual([['x', '3'], ...ours])
  })
})

describe('to the browser', () => {
  it.each([
    ['a=1', true],
    ['a=1; Path=/; HttpOnly; Expires=Thu, 01 Jan 2030 00:00:00 GMT', true],
    ['a=1; Domain=localhost', false],
    ['a=1;domain', false],
    ['a=1; DOMAIN =x', false],
    ['berth-port=x', false],
    [' berth-port=x', false],
    ['=berth-port=x', false],
    ['berth-port', false],
    ['domain=x', true],
  ])('the cookie %j: %j', (cookie, isPassed) => {
    expect(forBrowser([['Set-Cookie', cookie]], 'berth-port')).toHaveLength(isPassed ? 1 : 0)
  })

  it('nothing that reaches over its origin', () => {
    const names = ['Strict-Transport-Security', 'Clear-Site-Data', 'NEL', 'Report-To', 'Alt-Svc', 'X-Berth-Error']
    expect(forBrowser([...names.map((name): Header => [name, 'x']), ['ETag', 'x']], 'berth-port')).toEqual([
      ['ETag', 'x'],
    ])
  })
})

it('finds every cookie of ours', () => {
  const headers: Header[] = [
    ['cookie', 'a=b; berth-port=1'],
    ['Cookie', 'berth-port=2=3'],
  ]
  expect(cookieValues(headers, 'berth-port')).toEqual(['1', '2=3'])
})

describe('the token in a URL', () => {
  it.each([
    ['/a', '/a', undefined],
    ['/?berth_token=t', '/', 't'],
    ['/a?x=%20&berth_token=t&&y', '/a?x=%20&&y', 't'],
    ['//evil.example/?berth_token=t', '//evil.example/', 't'],
    ['/?berth_token', '/', ''],
    ['/?xberth_token=t', '/?xberth_token=t', undefined],
    ['/?%zz=1', '/?%zz=1', undefined],
    ['/?a?berth_token=t', '/?a?berth_token=t', undefined],
  ])('%s', (url, path, token) => {
    expect(takeToken(url)).toEqual({ path, token })
  })

  it.each(['http://x/', '*', 'x:80', '', '/?berth_token=a&berth_token=b', '/?berth_token=a&berth%5ftoken=b'])(
    'is refused in %j',
    (url) => {
      expect(() => takeToken(url)).toThrow()
    },
  )
})
