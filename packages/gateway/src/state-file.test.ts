import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporary } from './fixture/running-gateway.ts'
import { writeStateFile } from './state-file.ts'

test('a file of the state is its owner’s alone, whatever a killed process left beside it, and takes the place of the one before', async () => {
  await using dir = await temporary()
  const path = join(dir.path, 'a.json')
  await writeFile(`${path}.tmp`, 'cut', { mode: 0o644 })
  await writeStateFile(path, 'one')
  await writeStateFile(path, 'two')
  expect(await readFile(path, 'utf8')).toBe('two')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect(await readdir(dir.path)).toEqual(['a.json'])
})

test('one that cannot be put into its place is refused, and leaves nothing', async () => {
  await using dir = await temporary()
  const path = join(dir.path, 'a.json')
  await mkdir(path)
  await expect(writeStateFile(path, 'one')).rejects.toThrow('EISDIR')
  expect(await readdir(dir.path)).toEqual(['a.json'])
})
