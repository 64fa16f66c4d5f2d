import { chmod, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { apiKeyPath, readApiKey, writeApiKey } from './api-key-file.ts'

const KEY = 'berth_0123456789abcdef'
let dir = ''

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-key-'))
})
afterEach(() => rm(dir, { recursive: true }))

it('reads back what it wrote, readable by the owner alone whatever the umask', async () => {
  const before = process.umask(0)
  try {
    expect(await writeApiKey(dir, KEY)).toBe(apiKeyPath(dir))
  } finally {
    process.umask(before)
  }
  expect((await stat(apiKeyPath(dir))).mode & 0o777).toBe(0o600)
  expect(await readApiKey(dir)).toBe(KEY)
  expect(await readdir(dir)).toEqual(['api-key'])
})

it('replaces an older key and narrows its permissions', async () => {
  await writeFile(apiKeyPath(dir), 'berth_older_older_older\n')
  await chmod(apiKeyPath(dir), 0o644)
  await writeApiKey(dir, KEY)
  expect((await stat(apiKeyPath(dir))).mode & 0o777).toBe(0o600)
  expect(await readApiKey(dir)).toBe(KEY)
})

it('does not write through a link that waits in its place', async () => {
  const target = join(dir, 'target')
  await writeFile(target, 'untouched')
  await symlink(target, `${apiKeyPath(dir)}.new`)
  await symlink(target, apiKeyPath(dir))
  await writeApiKey(dir, KEY)
  expect(await readApiKey(dir)).toBe(KEY)
  expect((await stat(target)).size).toBe('untouched'.length)
})

it('answers undefined where there is no file, and refuses one that holds no key', async () => {
  expect(await readApiKey(dir)).toBeUndefined()
  expect(await readApiKey(join(dir, 'no/such'))).toBeUndefined()
  await writeFile(apiKeyPath(dir), 'two words\n')
  await expect(readApiKey(dir)).rejects.toThrow(`${apiKeyPath(dir)} holds no API key`)
})
