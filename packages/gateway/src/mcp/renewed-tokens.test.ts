import { randomBytes } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Sealing } from '@berth/protocol/sealing'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { oauth } from '../fixture/mcp-credentials.ts'
import { temporary } from '../fixture/running-gateway.ts'
import { RenewedTokens } from './renewed-tokens.ts'

const sealing = new Sealing(randomBytes(32))
const logger = pino({ level: 'silent' })
const tokens = { access_token: 'a', refresh_token: 'r', expires_at: null, renewed_at: '2026-01-01T00:00:00Z' }
const held = (given: { id?: string; version?: number; vaultId?: string; workspaceId?: string } = {}) => {
  const { id = 'vcrd_1', version = 1, vaultId = 'v1', workspaceId = 'ws' } = given
  const credential = oauth({ sealing, vaultId, id, version }, { url: 'https://mcp.test', access: 'one' })
  return { vaultId, workspaceId, credential }
}

test('they are read again, and only for the credential and version that they were given for', async () => {
  await using dir = await temporary()
  const before = await RenewedTokens.open({ directory: dir.path, sealing, logger })
  await before.put(held(), tokens)
  const after = await RenewedTokens.open({ directory: dir.path, sealing, logger })
  expect(after.get(held())).toEqual(tokens)
  for (const other of [{ id: 'vcrd_2' }, { version: 2 }, { vaultId: 'v2' }, { workspaceId: 'other' }]) {
    expect(after.get(held(other))).toBeUndefined()
  }
})

test.each([{ id: 'vcrd_2' }, { version: 2 }, { vaultId: 'v2' }, { workspaceId: 'other' }])(
  'put into the place of %j, what was sealed does not open',
  async (other) => {
    await using dir = await temporary()
    const before = await RenewedTokens.open({ directory: dir.path, sealing, logger })
    await before.put(held(), tokens)
    await before.put(held(other), { ...tokens, access_token: 'b' })
    const { id = 'vcrd_1' } = other
    const target = join(dir.path, `${id}.json`)
    await using elsewhere = await temporary()
    const stolen = await RenewedTokens.open({ directory: elsewhere.path, sealing, logger })
    await stolen.put(held(), tokens)
    const sealed: unknown = JSON.parse(await readFile(join(elsewhere.path, 'vcrd_1.json'), 'utf8'))
    const place: unknown = JSON.parse(await readFile(target, 'utf8'))
    const from = JSON.stringify(sealed).match(/"sealed":"[^"]+"/)?.[0] ?? ''
    await writeFile(target, JSON.stringify(place).replace(/"sealed":"[^"]+"/, from))
    const after = await RenewedTokens.open({ directory: dir.path, sealing, logger })
    expect(after.get(held(other))).toBeUndefined()
  },
)

test('what cannot be read is removed', async () => {
  await using dir = await temporary()
  const before = await RenewedTokens.open({ directory: dir.path, sealing, logger })
  await before.put(held(), tokens)
  const text = await readFile(join(dir.path, 'vcrd_1.json'), 'utf8')
  await writeFile(join(dir.path, 'vcrd_9.json'), text)
  await writeFile(join(dir.path, 'vcrd_8.json'), '{"cut')
  await writeFile(join(dir.path, 'vcrd_7.json.tmp'), text)
  const after = await RenewedTokens.open({ directory: dir.path, sealing, logger })
  expect(await readdir(dir.path)).toEqual(['vcrd_1.json'])
  expect(after.get(held())).toEqual(tokens)
})
