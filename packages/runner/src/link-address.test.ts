import { expect, test } from 'vitest'
import { parseLinkAddress, redialDelay } from './link-address.ts'

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
