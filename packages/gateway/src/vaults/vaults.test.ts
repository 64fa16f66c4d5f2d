import { randomBytes } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { GatewayVault } from '@berth/protocol/gateway-vault'
import { sealingContext, vaultDigest } from '@berth/protocol/gateway-vault'
import { Sealing } from '@berth/protocol/sealing'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { temporary } from '../fixture/running-gateway.ts'
import { Vaults } from './vaults.ts'

const sealing = new Sealing(randomBytes(32))
const logger = pino({ level: 'silent' })
const parts = (directory: string) => ({ directory, sealing, logger })

function variable(vaultId: string, secret: string, given: { id?: string; workspaceId?: string } = {}) {
  const { id = 'vcrd_1', workspaceId = 'ws' } = given
  const context = sealingContext({ workspaceId, vaultId, credentialId: id, version: 1 })
  return {
    type: 'environment_variable' as const,
    id,
    version: 1,
    sealed: sealing.seal(JSON.stringify({ secret_value: secret }), context),
    secret_name: 'TOKEN',
    hosts: ['api.example.com'],
    injection: { header: true, body: false },
  }
}

const vault = (credentials: GatewayVault['credentials'], workspace_id = 'ws'): GatewayVault => ({
  workspace_id,
  credentials,
})

describe('vaults in the gateway', () => {
  test('the first vault that has a credential gives it, and a changed one holds at once', async () => {
    await using dir = await temporary()
    const vaults = await Vaults.open(parts(dir.path))
    await vaults.put('v1', vault([variable('v1', 'one')]))
    await vaults.put('v2', vault([variable('v2', 'two')]))
    const secretOf = (ids: string[]) => {
      const held = vaults.environmentCredentials({ workspace_id: 'ws', vaults: ids }).get('TOKEN')
      return held === undefined ? undefined : vaults.openVariable(held)
    }
    expect(secretOf(['v1', 'v2'])).toBe('one')
    expect(secretOf(['v2', 'v1'])).toBe('two')
    await vaults.put('v1', vault([variable('v1', 'three')]))
    expect(secretOf(['v1'])).toBe('three')
    await vaults.put('v1', vault([]))
    expect(secretOf(['v1'])).toBeUndefined()
    await vaults.remove('v2')
    expect(secretOf(['v2'])).toBeUndefined()
  })

  test('they outlive the process, and no secret stands in their files', async () => {
    await using dir = await temporary()
    const before = await Vaults.open(parts(dir.path))
    await before.put('v1', vault([variable('v1', 'canary-secret')]))
    await writeFile(join(dir.path, 'v2.json'), '{"cut')
    const texts = await Promise.all((await readdir(dir.path)).map((name) => readFile(join(dir.path, name), 'utf8')))
    expect(texts.join()).not.toContain('canary')
    const after = await Vaults.open(parts(dir.path))
    const held = after.environmentCredentials({ workspace_id: 'ws', vaults: ['v1', 'v2'] }).get('TOKEN')
    expect(held && after.openVariable(held)).toBe('canary-secret')
  })

  test('what there is can be compared, page by page, also after a restart', async () => {
    await using dir = await temporary()
    const vaults = await Vaults.open(parts(dir.path))
    const there = { v2: vault([variable('v2', 'two')]), v1: vault([variable('v1', 'one')]), v3: vault([]) }
    for (const [id, each] of Object.entries(there)) await vaults.put(id, each)
    const expected = (['v1', 'v2', 'v3'] as const).map((id) => ({
      id,
      digest: vaultDigest(there[id]),
    }))
    for (const opened of [vaults, await Vaults.open(parts(dir.path))]) {
      expect(opened.list({ after: '', limit: 2 })).toEqual(expected.slice(0, 2))
      expect(opened.list({ after: 'v2', limit: 2 })).toEqual(expected.slice(2))
    }
    expect(new Set(expected.map(({ digest }) => digest)).size).toBe(3)
  })

  test('another workspace finds nothing, and what was moved does not open', async () => {
    await using dir = await temporary()
    const vaults = await Vaults.open(parts(dir.path))
    await vaults.put('v1', vault([variable('v1', 'one')]))
    expect(vaults.environmentCredentials({ workspace_id: 'other', vaults: ['v1'] }).size).toBe(0)
    // The sealed text of one vault, put into another one.
    await vaults.put('v2', vault([variable('v1', 'one')]))
    const moved = vaults.environmentCredentials({ workspace_id: 'ws', vaults: ['v2'] }).get('TOKEN')
    expect(() => moved && vaults.openVariable(moved)).toThrow()
    await vaults.put('v3', vault([variable('v3', 'one')], 'other'))
    const stolen = vaults.environmentCredentials({ workspace_id: 'other', vaults: ['v3'] }).get('TOKEN')
    expect(() => stolen && vaults.openVariable(stolen)).toThrow()
  })

  test('without a key it takes none', async () => {
    await using dir = await temporary()
    const vaults = await Vaults.open({ ...parts(dir.path), sealing: undefined })
    expect(() => vaults.put('v1', vault([]))).toThrow(/BERTH_VAULT_KEY_FILE/)
    expect(() => vaults.put('../v1', vault([]))).toThrow(/vault id/)
  })
})
