import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { replaceAll, type Replacement, replaceStream } from './replace-stream.ts'

const pair = (from: string, to: string): Replacement => [Buffer.from(from), Buffer.from(to)]

async function through(chunks: readonly string[], pairs: readonly Replacement[]): Promise<string> {
  const bytes = chunks.map((chunk) => Buffer.from(chunk, 'latin1'))
  return (await buffer(Readable.from(bytes).pipe(replaceStream(pairs)))).toString('latin1')
}

/** All ways to cut a text into three chunks, empty ones left out. */
function cuts(text: string): string[][] {
  const all: string[][] = []
  for (let one = 0; one <= text.length; one++) {
    for (let two = one; two <= text.length; two++) {
      all.push([text.slice(0, one), text.slice(one, two), text.slice(two)].filter((part) => part !== ''))
    }
  }
  return all
}

test.each([
  ['nothing to do', [pair('secret', 'X')]],
  ['a secret b', [pair('secret', 'X')]],
  ['secretsecretsecre', [pair('secret', 'longer than it was')]],
  ['aaaaaab', [pair('aab', 'X')]],
  ['abcdeabcd', [pair('abcde', 'X'), pair('cd', 'Y')]],
  ['one two one', [pair('one', 'two'), pair('two', 'one')]],
  ['tokentoken-2', [pair('token', 'X'), pair('token-2', 'Y')]],
])('however %s is cut into chunks, the same comes out', async (text, pairs) => {
  const whole = replaceAll(text, pairs)
  for (const chunks of cuts(text)) expect(await through(chunks, pairs)).toBe(whole)
})

test('of overlapping ones, the first is replaced, and of those the longest', () => {
  expect(replaceAll('abcde', [pair('cd', 'Y'), pair('abcde', 'X')])).toBe('X')
  expect(replaceAll('token-2 token', [pair('token', 'X'), pair('token-2', 'Y')])).toBe('Y X')
  expect(replaceAll('one two', [pair('one', 'two'), pair('two', 'one')])).toBe('two one')
})

test('what cannot begin an occurrence goes on at once', () => {
  const stream = replaceStream([pair('secret', 'X')])
  const now = (written: string): string => {
    stream.write(written)
    return String(stream.read())
  }
  expect(now('data: 1\n\n')).toBe('data: 1\n\n')
  expect(now('data: secr')).toBe('data: ')
  expect(now('t\n\n')).toBe('secrt\n\n')
})

test('a megabyte full of occurrences and near misses takes no quadratic time', async () => {
  const secret = `${'a'.repeat(2000)}b`
  const chunks = Array.from({ length: 16 }, () => 'a'.repeat(65_536))
  const started = performance.now()
  expect(await through([...chunks, 'b'], [pair(secret, 'X')])).toHaveLength(16 * 65_536 - 2000 + 1)
  expect(
    await through(
      Array.from({ length: 16 }, () => 'ab'.repeat(32_768)),
      [pair('ab', ''), pair('zz', '')],
    ),
  ).toBe('')
  expect(performance.now() - started).toBeLessThan(10_000)
})
