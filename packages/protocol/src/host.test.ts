import { assert, domain, oneof, property, string, stringMatching } from 'fast-check'
import { expect, test } from 'vitest'
import { readHost, readHostPattern } from './host.ts'

test.each([
  ['example.com', 'example.com'],
  ['EXAMPLE.Com', 'example.com'],
  ['a-b.c0.example', 'a-b.c0.example'],
  ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ['1.example', '1.example'],
])('%s is a host', (text, host) => {
  expect(readHost(text)).toEqual({ host })
})

const noHosts = [
  '',
  '.',
  'example',
  'localhost',
  'example.com.',
  '.example.com',
  'a..b',
  '-a.example',
  'a-.example',
  'a_b.example',
  '2130706433',
  '0x7f000001',
  '0177.0.0.1',
  '127.1',
  '0',
  '127.0.0.1',
  '1.2.3',
  'a.1',
  'a.0x',
  'a.0x7f',
  '1.2.3.4.5',
  '[::]',
  '[::1]',
  '::1',
  '[::ffff:7f00:1]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
  'fe80::1%lo',
  'fe80::1',
  'a.example\0',
  'localhost\0.allowed.example',
  'a%00.example',
  'a.example\r\n',
  'a\t.example',
  ' a.example',
  'a.example ',
  'a.example\x7f',
  'user@a.example',
  'a.example/x',
  'a\\.example',
  'a.example:443',
  'a,b.example',
  '*.example.com',
  '*',
  '①②⑦.⓪.⓪.①',
  'a。example',
  'ａ.example',
  'bücher.example',
  '\u212a.example',
  'exampl\u0435.com',
  'İ.example',
  'xn--.example',
  'xn--bcher-kva-.example',
  `${'a'.repeat(64)}.example`,
  `${'a.'.repeat(127)}example`,
]
test.each(noHosts)('%j is no host', (text) => {
  expect(readHost(text)).toHaveProperty('fault')
})

test('what is a host is its own canonical form, made of nothing but letters, digits, hyphens and dots', () => {
  const texts = oneof(string({ unit: 'binary' }), domain(), stringMatching(/^[a-zA-Z0-9.x_-]{1,40}$/))
  assert(
    property(texts, (text) => {
      const reading = readHost(text)
      if ('fault' in reading) return
      expect(reading.host).toMatch(/^(?:[a-z0-9-]{1,63}\.)+[a-z0-9-]{1,63}$/)
      expect(reading.host).toBe(text.toLowerCase())
      expect(readHost(reading.host)).toEqual(reading)
      expect(readHostPattern(text)).toEqual({ pattern: reading.host })
      expect(new URL(`http://${reading.host}/`).hostname).toBe(reading.host)
    }),
    { numRuns: 5_000 },
  )
})

test.each([
  ['API.Example.com', 'api.example.com'],
  ['*.Example.com', '*.example.com'],
  ['bücher.example', 'xn--bcher-kva.example'],
  ['*.bücher.example', '*.xn--bcher-kva.example'],
])('%s is an entry of a policy', (text, pattern) => {
  expect(readHostPattern(text)).toEqual({ pattern })
})

test.each([
  ['', /empty/],
  ['*', /\*/],
  ['*.', /empty/],
  ['*.com', /domain/],
  ['a.*.example', /\*/],
  ['*a.example', /\*/],
  ['**.example', /\*/],
  ['10.0.0.1', /address/],
  ['[::1]', /address/],
  ['::1', /address/],
  ['①②⑦.⓪.⓪.①', /address/],
  ['a.example:443', /port/],
  ['https://a.example', /scheme/],
  ['a.example/path', /path/],
  ['user@a.example', /user/],
  ['a.example.', /not the name/],
  ['a b.example', /characters/],
  ['a\u0000.example', /characters/],
  ['a\u00a0.example', /characters/],
])('%j is no entry of a policy, and it is said why', (text, fault) => {
  expect(readHostPattern(text)).toEqual({ fault: expect.stringMatching(fault) })
})
