import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { LineLimit } from './line-limit.ts'

const room = () => Promise.resolve()
const through = (...chunks: string[]) =>
  text(Readable.from(chunks.map((chunk) => Buffer.from(chunk))).pipe(new LineLimit(5, room)))

test('passes lines of any number and every split on unchanged', async () => {
  expect(await through('12345\n12345\n', '', '123', '45\n1\n\n', '\n12345')).toBe('12345\n12345\n12345\n1\n\n\n12345')
})

test.each([
  ['in one chunk', ['123456']],
  ['over several', ['123', '456\n']],
  ['after short ones', ['1\n2\n345', '678']],
  ['before a short one', ['123456\n1\n']],
])('fails on a line that is too long, %s', async (_name, chunks) => {
  const limit = new LineLimit(5, room)
  Readable.from(chunks.map((chunk) => Buffer.from(chunk))).pipe(limit)
  await expect(text(limit)).rejects.toThrow('a line of more than 5 bytes')
})

test('waits for room before each chunk, and passes on when nobody gives room any more', async () => {
  const waits: PromiseWithResolvers<void>[] = []
  const limit = new LineLimit(5, () => {
    const wait = Promise.withResolvers<void>()
    waits.push(wait)
    return wait.promise
  })
  limit.write('a\n')
  limit.end('b\n')
  const received = text(limit)
  waits[0]?.resolve()
  await expect.poll(() => waits.length).toBe(2)
  waits[1]?.reject(new Error('ended'))
  expect(await received).toBe('a\nb\n')
})
