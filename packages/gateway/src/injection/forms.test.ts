import { expect, test } from 'vitest'
import { backwards, formFor } from './forms.ts'
import { replaceIn } from './replacer.ts'

const secretOf = (value: string) => ({
  name: 'KEY',
  placeholder: 'berth_placeholder_1',
  value,
  injection: { header: true, body: true },
})
const shown = (value: string, answer: string): string =>
  replaceIn(Buffer.from(answer), backwards([secretOf(value)])).bytes.toString()

test('a secret of several lines is found as it is and escaped', () => {
  const pem = '-----BEGIN KEY-----\nAb+/=\n"x"\n-----END KEY-----\n'
  const answer = [pem, JSON.stringify({ key: pem }), encodeURIComponent(pem)].join('|')
  expect(shown(pem, answer)).toBe('berth_placeholder_1|{"key":"berth_placeholder_1"}|berth_placeholder_1')
  expect(shown(pem, Buffer.from(pem).toString('base64'))).not.toContain(
    Buffer.from(pem).toString('base64').slice(8, 40),
  )
})

test('what is too short to be told from other text stays', () => {
  expect(shown('abc', 'abc abcd')).toBe('abc abcd')
  expect(shown('abcd', 'abcd YWJj')).toBe('berth_placeholder_1 YWJj')
  expect(shown('', 'anything')).toBe('anything')
})

test('letters that no encoding knows do no harm', () => {
  expect(shown('half \ud800 a letter', 'no secret')).toBe('no secret')
  expect(shown('grün-äöü', 'x grün-äöü y')).toBe('x berth_placeholder_1 y')
})

test.each([
  ['application/json', 'a"b', String.raw`a\"b`],
  ['application/vnd.api+json; charset=utf-8', 'a\nb', String.raw`a\nb`],
  ['application/x-www-form-urlencoded;charset=UTF-8', 'a b&c', 'a+b%26c'],
  ['text/plain', 'a"b', 'a"b'],
  [undefined, 'a&b', 'a&b'],
])('in a body of %s', (type, value, form) => {
  expect(formFor(type)(value)).toBe(form)
})
