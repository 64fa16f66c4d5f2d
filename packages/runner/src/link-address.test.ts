import { expect, test } from 'vitest'
import { channelUrl, parseLinkAddress, redialDelay } from './link-address.ts'

test('reads socket paths and URLs, and nothing else', () => {
  expect(parseLinkAddress('unix:/run/link.sock')).toEqual({
    url: 'ws+unix:/run/link.sock:/',
    socketPath: '/run/link.sock',
  })
  expect(parseLinkAddress('wss://berth.example/link')).toEqual({
    url: 'wss://berth.example/link',
    socketPath: undefined,
  })
  for (const text of ['', 'unix:', 'unix:relative', 'http://x', '/run/link.sock']) {
    expect(() => parseLinkAddress(text)).toThrow("the link's address must be")
  }
})

test('pauses grow and stay under a second', () => {
  expect(redialDelay(0)).toBeLessThanOrEqual(20)
  expect(redialDelay(3)).toBeGreaterThan(redialDelay(0))
  for (const attempt of [10, 100, 1e9]) expect(redialDelay(attempt)).toBeLessThanOrEqual(1_000)
})

test('a channel has a path below the address of the link', () => {
  const url = (link: string): string => channelUrl(parseLinkAddress(link), 'c1')
  expect(url('unix:/run/link.sock')).toBe('ws+unix:/run/link.sock:/channel/c1')
  expect(url('ws://host:1')).toBe('ws://host:1/channel/c1')
  expect(url('wss://host/a/?x=1')).toBe('wss://host/a/channel/c1?x=1')
})
