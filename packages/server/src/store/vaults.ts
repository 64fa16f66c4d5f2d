import type { CreateVaultBody, UpdateVaultBody } from '@berth/protocol/api/vault'
import type { GatewayVault } from '@berth/protocol/gateway-vault'
import type { Window } from '../domain/page.ts'
import { notFound } from '../domain/refusal.ts'
import { checkNotArchived, type StoredVault, vaultChanges } from '../domain/vault.ts'
import { toGatewayCredential } from '../domain/vault-credential.ts'
import type { Db } from './store.ts'
import { toScan } from './window.ts'

export interface VaultKey {
  readonly workspaceId: string
  readonly id: string
}

const columns = ['ord', 'id', 'display_name', 'metadata', 'created_at', 'updated_at', 'archived_at'] as const

export async function createVault(
  db: Db,
  { workspaceId, id, body, now }: VaultKey & { body: CreateVaultBody; now: string },
): Promise<StoredVault> {
  return db
    .insertInto('vaults')
    .values({
      id,
      workspace_id: workspaceId,
      display_name: body.display_name,
      metadata: JSON.stringify(body.metadata ?? {}),
      created_at: now,
      updated_at: now,
      archived_at: null,
    })
    .returning(columns)
    .executeTakeFirstOrThrow()
}

export async function getVault(db: Db, key: VaultKey): Promise<StoredVault> {
  const vault = await findVault(db, key)
  if (vault === undefined) throw notFound('vault', key.id)
  return vault
}

export async function findVault(db: Db, { workspaceId, id }: VaultKey): Promise<StoredVault | undefined> {
  return db
    .selectFrom('vaults')
    .select(columns)
    .where('workspace_id', '=', workspaceId)
    .where('id', '=', id)
    .executeTakeFirst()
}

export async function listVaults(
  db: Db,
  { workspaceId, includeArchived, window }: { workspaceId: string; includeArchived: boolean; window: Window },
): Promise<StoredVault[]> {
  const scan = toScan(window)
  let query = db
    .selectFrom('vaults')
    .select(columns)
    .where('workspace_id', '=', workspaceId)
    .orderBy('ord', scan.sort)
    .limit(scan.rows)
  if (window.from !== undefined) query = query.where('ord', scan.beyond, window.from)
  if (!includeArchived) query = query.where('archived_at', 'is', null)
  return query.execute()
}

export async function updateVault(
  db: Db,
  { change, now, ...key }: VaultKey & { change: UpdateVaultBody; now: string },
): Promise<StoredVault> {
  const stored = await getVault(db, key)
  checkNotArchived(stored)
  const changes = vaultChanges(stored, change)
  if (changes === undefined) return stored
  await db
    .updateTable('vaults')
    .set({ ...changes, updated_at: now })
    .where('id', '=', key.id)
    .execute()
  return { ...stored, ...changes, updated_at: now }
}

/** With its credentials, whose secrets go. New sessions cannot have it; those that have it go on without. */
export async function archiveVault(db: Db, { now, ...key }: VaultKey & { now: string }): Promise<StoredVault> {
  const stored = await getVault(db, key)
  if (stored.archived_at !== null) return stored
  await db
    .updateTable('vault_credentials')
    .set({ sealed: null, archived_at: now })
    .where('vault_id', '=', key.id)
    .where('archived_at', 'is', null)
    .execute()
  await db.updateTable('vaults').set({ archived_at: now }).where('id', '=', key.id).execute()
  return { ...stored, archived_at: now }
}

export async function deleteVault(db: Db, key: VaultKey): Promise<void> {
  await getVault(db, key)
  await db.deleteFrom('vault_credentials').where('vault_id', '=', key.id).execute()
  await db.deleteFrom('vaults').where('id', '=', key.id).execute()
}

export interface NamedVault {
  readonly id: string
  readonly vault: GatewayVault
}

/** What the gateway is to have: vaults with active credentials, of all workspaces, by id in ascending order behind `after`. */
export async function listGatewayVaults(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<NamedVault[]> {
  const rows = await db
    .selectFrom('vault_credentials')
    .select('vault_id')
    .distinct()
    .where('vault_id', '>', after)
    .where('archived_at', 'is', null)
    .orderBy('vault_id')
    .limit(limit)
    .execute()
  const named = await Promise.all(
    rows.map(async ({ vault_id: id }) => ({ id, vault: await findGatewayVault(db, { vaultId: id }) })),
  )
  return named.flatMap(({ id, vault }) => (vault === undefined ? [] : [{ id, vault }]))
}

/** undefined: the gateway is to have none of this id. */
export async function findGatewayVault(db: Db, { vaultId }: { vaultId: string }): Promise<GatewayVault | undefined> {
  const rows = await db
    .selectFrom('vault_credentials')
    .select(['id', 'workspace_id', 'version', 'auth', 'sealed'])
    .where('vault_id', '=', vaultId)
    .where('archived_at', 'is', null)
    .orderBy('ord')
    .execute()
  const [first] = rows
  if (first === undefined) return undefined
  const credentials = rows.flatMap(({ sealed, ...row }) =>
    sealed === null ? [] : [toGatewayCredential({ ...row, sealed })],
  )
  return { workspace_id: first.workspace_id, credentials }
}
