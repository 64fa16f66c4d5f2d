import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Sealing } from '@berth/protocol/sealing'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openSqliteStore } from './store/sqlite/open.ts'
import { fingerprintOf, prepareVaultKey } from './vault-key.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-key-'))
})
afterEach(() => rm(dir, { recursive: true }))

const prepare = (config: Parameters<typeof prepareVaultKey>[1] = {}) =>
  prepareVaultKey(dir, config, new AbortController().signal)
const keyFile = async (name: string, text: string, mode = 0o600): Promise<string> => {
  const path = join(dir, name)
  await writeFile(path, text)
  await chmod(path, mode)
  return path
}
const now = new Date(0).toISOString()

/** A database that was used with the key; with a vault, unless it is told otherwise. */
async function useWith(key: Buffer, { vault = true } = {}): Promise<void> {
  await using store = await openSqliteStore(join(dir, 'berth.db'))
  await store.ensureWorkspace({ id: 'w', name: 'w', now })
  await store.bindVaultKey({ fingerprint: fingerprintOf(new Sealing(key)) })
  if (vault) await store.createVault({ workspaceId: 'w', id: 'vlt_1', body: { display_name: 'v' }, now })
}

test('the first start makes a key for its owner alone, and every other one finds it', async () => {
  const made = await prepare()
  expect(made).toHaveLength(32)
  expect((await stat(join(dir, 'vault.key'))).mode & 0o777).toBe(0o600)
  expect(await readFile(join(dir, 'vault.key'), 'utf8')).toBe(`${made.toString('base64')}\n`)
  await useWith(made)
  expect(await prepare()).toEqual(made)
  expect(await readdir(dir)).not.toContain('vault.key.new')
})

test('a file that is named has to be there, closed to others, and a key', async () => {
  const key = randomBytes(32)
  expect(await prepare({ file: await keyFile('k', key.toString('base64')) })).toEqual(key)
  const name = /^BERTH_VAULT_KEY_FILE: /
  for (const [file, fault] of [
    [join(dir, 'none'), 'cannot be read'],
    [await keyFile('open', key.toString('base64'), 0o640), 'open to others (mode 0640)'],
    [await keyFile('short', randomBytes(31).toString('base64')), '32 bytes in base64'],
    [await keyFile('long', `${key.toString('base64')}AAAA`), '32 bytes in base64'],
  ] as const) {
    const refused = expect(prepare({ file })).rejects
    await refused.toThrow(name)
    await expect(prepare({ file })).rejects.toThrow(fault)
  }
  expect(await readdir(dir)).not.toContain('vault.key')
})

test('a command prints it; what goes wrong is said without what it printed', async () => {
  const key = randomBytes(32).toString('base64')
  const path = await keyFile('secret', key)
  expect((await prepare({ command: `cat ${path}` })).toString('base64')).toBe(key)
  const failing = prepare({ command: `cat ${path}; exit 3` })
  await expect(failing).rejects.toThrow('BERTH_VAULT_KEY_COMMAND: the command ended with 3')
  await expect(prepare({ command: 'echo sealed-canary' })).rejects.toThrow(/^BERTH_VAULT_KEY_COMMAND: must be 32 bytes/)
})

test('vaults that were sealed with another key, or with one that is gone, are not for this start', async () => {
  const key = randomBytes(32)
  const path = await keyFile('vault.key', key.toString('base64'))
  await useWith(key)
  const other = await keyFile('other', randomBytes(32).toString('base64'))
  await expect(prepare({ file: other })).rejects.toThrow(
    'not the one that the vaults of this database were sealed with',
  )
  await rm(path)
  await expect(prepare()).rejects.toThrow(/vault\.key: is missing/)
  expect(await readdir(dir)).not.toContain('vault.key')
  await using store = await openSqliteStore(join(dir, 'berth.db'))
  const fingerprint = fingerprintOf(new Sealing(randomBytes(32)))
  await expect(store.bindVaultKey({ fingerprint })).rejects.toThrow('sealed with')
})

test('without vaults any key will do', async () => {
  await useWith(randomBytes(32), { vault: false })
  const next = await prepare()
  await useWith(next)
  expect(await prepare()).toEqual(next)
})
