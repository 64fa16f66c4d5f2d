import { expect, test } from 'vitest'
import { linkNames } from './mcp-names.ts'

const names = (...list: string[]) => list.map((name) => linkNames(list).get(name) ?? '')

test('names that can be used stay as they are', () => {
  expect(names('docs', 'git-hub', 'a_b')).toEqual(['docs', 'git-hub', 'a_b'])
})

test('any other names get like ones, each of its own', () => {
  const odd = [
    'my server',
    'my.server',
    'custom',
    'Custom',
    'a__b',
    'a_',
    '_a',
    'claude.ai',
    'ide',
    'ü',
    '…',
    'x'.repeat(255),
    '/',
  ]
  const found = names(...odd)
  expect(new Set(found).size).toBe(odd.length)
  for (const name of found) {
    expect(name).toMatch(/^[A-Za-z0-9_-]{1,32}$/)
    expect(name).not.toMatch(/__|^_|_$|^custom$|^claude/)
  }
  expect(found[0]).toMatch(/^my_server_[0-9a-f]{8}$/)
})

test('a name does not depend on the servers beside it, and nobody takes it by naming himself so', () => {
  const [alone = ''] = names('my server')
  expect(names('docs', 'my server')[1]).toBe(alone)
  expect(names(alone, 'my server')[0]).toBe(alone)
  expect(names('my server', alone)[1]).toBe(alone)
  expect(names('my server', alone)[0]).not.toBe(alone)
})
