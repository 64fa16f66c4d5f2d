import { expect, test } from 'vitest'
import { sourceOf } from './source.ts'

test('an address of IPv4 is a source, however it is written', () => {
  expect(['192.0.2.7', '::ffff:192.0.2.7', '::FFFF:192.0.2.7'].map(sourceOf)).toEqual(Array(3).fill('192.0.2.7'))
  expect(sourceOf('192.0.2.8')).not.toBe(sourceOf('192.0.2.7'))
})

test('of IPv6, a /64 is one', () => {
  const one = ['2001:db8:0:1::1', '2001:DB8:0:1:ffff:ffff:ffff:ffff', '2001:0db8:0000:0001::', '2001:db8:0:1::9%eth0']
  expect(new Set(one.map(sourceOf))).toEqual(new Set(['2001:db8:0:1::/64']))
  expect(sourceOf('2001:db8:0:2::1')).toBe('2001:db8:0:2::/64')
  expect(sourceOf('::1')).toBe('0:0:0:0::/64')
  expect(sourceOf('2001:db8::1:0:0:1')).toBe('2001:db8:0:0::/64')
})

test('what is no address is one source', () => {
  expect([undefined, '', '/run/socket'].map(sourceOf)).toEqual(Array(3).fill('nowhere'))
})
