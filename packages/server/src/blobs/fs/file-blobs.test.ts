import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { blobKeys } from '../../../test/archive-world.ts'
import { openFileBlobs } from './file-blobs.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-blobs-'))
})
afterEach(() => rm(dir, { recursive: true }))

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

test('a blob is its parts, whole or in ranges', async () => {
  await using blobs = await openFileBlobs(join(dir, 'blobs'))
  await blobs.put('a/b/c', [Buffer.from('one '), Buffer.from(''), Buffer.from('two')])
  expect(text(await blobs.get('a/b/c'))).toBe('one two')
  expect(text(await blobs.get('a/b/c', { start: 4, length: 2 }))).toBe('tw')
  expect(text(await blobs.get('a/b/c', { start: 4, length: 9 }))).toBe('two')
  expect(text(await blobs.get('a/b/c', { start: 9, length: 9 }))).toBe('')
  await blobs.put('a/b/c', [Buffer.from('new')])
  expect(text(await blobs.get('a/b/c'))).toBe('new')
})

test('what is there is listed by prefix, until it is deleted', async () => {
  await using blobs = await openFileBlobs(join(dir, 'blobs'))
  for (const key of ['a/1', 'a/2', 'b/1']) await blobs.put(key, [Buffer.from(key)])
  const below: string[] = []
  for await (const key of blobs.list('a/')) below.push(key)
  expect(below.toSorted()).toEqual(['a/1', 'a/2'])
  await blobs.delete('a/1')
  await blobs.delete('a/1')
  expect(await blobKeys(blobs)).toEqual(['a/2', 'b/1'])
  await expect(blobs.get('a/1')).rejects.toMatchObject({ code: 'not_found' })
})

test.each([
  '',
  '/',
  '/etc/passwd',
  '../x',
  'a/../x',
  'a/',
  '/a',
  'a//b',
  '.incoming/1',
  'a\0',
  'a.b',
  'ä',
  'x'.repeat(200),
])('the key %j is refused', async (key) => {
  await using blobs = await openFileBlobs(join(dir, 'blobs'))
  const refused = { code: 'invalid_request' }
  await expect(blobs.put(key, [Buffer.from('x')])).rejects.toMatchObject(refused)
  await expect(blobs.get(key)).rejects.toMatchObject(refused)
  await expect(blobs.delete(key)).rejects.toMatchObject(refused)
  expect(await readdir(dir, { recursive: true })).toEqual(['blobs', 'blobs/.incoming'])
})

test('what a server that died was about to write is removed at the next opening', async () => {
  await mkdir(join(dir, 'blobs', '.incoming'), { recursive: true })
  await writeFile(join(dir, 'blobs', '.incoming', '7'), 'half')
  await using blobs = await openFileBlobs(join(dir, 'blobs'))
  expect(await readdir(join(dir, 'blobs', '.incoming'))).toEqual([])
  await blobs.put('a', [Buffer.from('x')])
  expect(await readdir(join(dir, 'blobs', '.incoming'))).toEqual([])
  expect(await blobKeys(blobs)).toEqual(['a'])
})
