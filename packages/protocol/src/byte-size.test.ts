import { expect, test } from 'vitest'
import { readByteSize } from './byte-size.ts'

test('a size is a whole number of bytes, or of a unit', () => {
  const read = ['0', '123', '5kB', '5KiB', '7 MB', '7MiB', '4GiB', '10GB', '1TiB'].map(readByteSize)
  expect(read).toEqual([0, 123, 5000, 5120, 7_000_000, 7 * 2 ** 20, 2 ** 32, 1e10, 2 ** 40])
})

test('nothing else is one', () => {
  const wrong = [
    '',
    '-1',
    '1.5GB',
    '4G',
    '4gib',
    'KB',
    '5KB',
    '1e3',
    ' 1',
    '1  MB',
    '9999999999999999',
    '9999TiB1',
    '9999999TiB',
  ]
  expect(wrong.map(readByteSize)).toEqual(wrong.map(() => undefined))
})
