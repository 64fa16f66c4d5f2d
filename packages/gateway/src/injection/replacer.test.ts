import { pipeline } from 'node:stream/promises'
import { array, assert, constantFrom, nat, property, string, uniqueArray } from 'fast-check'
import { expect, test } from 'vitest'
import { replaceIn, type Replacement, Replacer, replacingOnRecord } from './replacer.ts'

const of = (from: string, to: string, name = from): Replacement => ({
  name,
  from: Buffer.from(from),
  to: Buffer.from(to),
})

function inPieces(text: string, cuts: readonly number[], replacements: readonly Replacement[]): string {
  const replacer = new Replacer(replacements)
  const bytes = Buffer.from(text)
  const edges = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].toSorted(
    (a, b) => a - b,
  )
  const parts = edges.slice(1).map((end, index) => replacer.push(bytes.subarray(edges[index], end)))
  return Buffer.concat([...parts, replacer.end()]).toString()
}

/** Position by position, the longest first. */
function plainly(text: string, pairs: readonly (readonly [string, string])[]): string {
  let out = ''
  for (let at = 0; at < text.length;) {
    const [from, to] =
      pairs.filter(([each]) => text.startsWith(each, at)).toSorted(([a], [b]) => b.length - a.length)[0] ?? []
    out += to ?? text.charAt(at)
    at += from?.length ?? 1
  }
  return out
}

test('whatever the chunks, the outcome is that of a plain reading', () => {
  const letters = string({ unit: constantFrom('a', 'b', 'c'), maxLength: 40 })
  const pattern = string({ unit: constantFrom('a', 'b'), minLength: 1, maxLength: 5 })
  const patterns = uniqueArray(pattern, { minLength: 1, maxLength: 4 })
  assert(
    property(letters, patterns, array(nat(40)), (text, froms, cuts) => {
      const pairs = froms.map((from, index) => [from, `<${index}>`] as const)
      const replacements = pairs.map(([from, to]) => of(from, to))
      expect(inPieces(text, cuts, replacements)).toBe(plainly(text, pairs))
    }),
    { numRuns: 2000 },
  )
})

test('no more is held back than what may be the beginning of a secret', () => {
  const replacer = new Replacer([of('secret', 'X')])
  expect(String(replacer.push(Buffer.from('data: hello\n\n')))).toBe('data: hello\n\n')
  expect(String(replacer.push(Buffer.from('data: sec')))).toBe('data: ')
  expect(String(replacer.push(Buffer.from('ond\n\n')))).toBe('second\n\n')
  for (const char of 'secre') expect(String(replacer.push(Buffer.from(char)))).toBe('')
  expect(String(replacer.push(Buffer.from('t')))).toBe('X')
  expect(String(replacer.end())).toBe('')
  expect([...replacer.found]).toEqual(['secret'])
})

test('of two secrets that begin alike the longer one is found, and what is left of a beginning comes at the end', () => {
  const both = [of('abc', '1'), of('abcdef', '2')]
  expect(inPieces('abcdefabcdeabcdef', [3, 4, 5, 9], both)).toBe('21de2')
  expect(inPieces('xab', [1, 2], both)).toBe('xab')
  expect(replaceIn(Buffer.from('none'), both)).toEqual({ bytes: Buffer.from('none'), found: new Set() })
})

test('nothing goes on before the record of what is in it, nor when there is none', async () => {
  const events: string[] = []
  const stage = replacingOnRecord([of('one', '1'), of('two', '2')], async (names) => {
    await Promise.resolve()
    events.push(`record ${names.join()}`)
    if (names.includes('two')) throw new Error('the record is full')
  })
  const first = Promise.withResolvers<void>()
  const source = async function* () {
    yield Buffer.from('a one b one ')
    await first.promise
    yield Buffer.from('c two d')
  }
  const passed = pipeline(source, stage, async (from) => {
    for await (const chunk of from) {
      events.push(String(chunk))
      first.resolve()
    }
  })
  await expect(passed).rejects.toThrow('the record is full')
  expect(events).toEqual(['record one', 'a 1 b 1 ', 'record two'])
})

test('8 MiB of the worst kind take less than five seconds of the processor', () => {
  const replacements = [of(`${'a'.repeat(200)}b`, 'X'), of('zzz', 'Y')]
  const replacer = new Replacer(replacements)
  const began = process.threadCpuUsage()
  for (let n = 0; n < 128; n++) replacer.push(Buffer.alloc(65_536, 'a'))
  for (let n = 0; n < 20_000; n++) replacer.push(Buffer.from('a'))
  const { user, system } = process.threadCpuUsage(began)
  expect((user + system) / 1000).toBeLessThan(5000)
})
