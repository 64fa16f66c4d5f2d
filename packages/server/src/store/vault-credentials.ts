import { BerthError } from '@berth/protocol'
import type { CreateCredentialBody, CredentialAuth, UpdateCredentialBody } from '@berth/protocol/api/vault-credential'
import { credentialLimits } from '@berth/protocol/api/vault-credential'
import { isDeepStrictEqual } from 'node:util'
import { patchMetadata } from '../domain/metadata.ts'
import type { Window } from '../domain/page.ts'
import { invalid, notFound } from '../domain/refusal.ts'
import { checkNotArchived, parseMetadata } from '../domain/vault.ts'
import { keyOf, parseAuth, slotOf, type StoredCredential } from '../domain/vault-credential.ts'
import type { Variable } from '../domain/variables.ts'
import type { Db } from './store.ts'
import { getVault } from './vaults.ts'
import { toScan } from './window.ts'

export interface CredentialKey {
  readonly workspaceId: string
  readonly vaultId: string
  readonly id: string
}

/** Without what is sealed: results of operations are kept with the requests that they are for, longer than a secret may be. */
const columns = [
  'ord',
  'id',
  'vault_id',
  'display_name',
  'metadata',
  'auth',
  'version',
  'created_at',
  'updated_at',
  'archived_at',
] as const

export interface CreateCredentialArgs extends CredentialKey {
  readonly body: Pick<CreateCredentialBody, 'display_name' | 'metadata'>
  readonly auth: CredentialAuth
  /** For the version 1. */
  readonly sealed: string
  readonly now: string
}

/** `conflict` when an active one of the vault is for the same. */
export async function createCredential(db: Db, args: CreateCredentialArgs): Promise<StoredCredential> {
  const { workspaceId, vaultId, body, auth, now } = args
  checkNotArchived(await getVault(db, { workspaceId, id: vaultId }))
  const active = await db
    .selectFrom('vault_credentials')
    .select(['id', 'slot'])
    .where('vault_id', '=', vaultId)
    .where('archived_at', 'is', null)
    .execute()
  const slot = slotOf(auth)
  const twin = active.find((each) => each.slot === slot)
  const { field, value } = keyOf(auth)
  if (twin !== undefined)
    throw new BerthError('conflict', `${field}: ${value} has a credential in this vault: ${twin.id}`)
  if (active.length >= credentialLimits.credentials) {
    const most = `has ${credentialLimits.credentials} credentials, which is the most; archive or delete one`
    throw invalid('vault_id', `${vaultId} ${most}`)
  }
  return db
    .insertInto('vault_credentials')
    .values({
      id: args.id,
      workspace_id: workspaceId,
      vault_id: vaultId,
      display_name: body.display_name ?? null,
      metadata: JSON.stringify(body.metadata ?? {}),
      auth: JSON.stringify(auth),
      slot,
      version: 1,
      sealed: args.sealed,
      created_at: now,
      updated_at: now,
      archived_at: null,
    })
    .returning(columns)
    .executeTakeFirstOrThrow()
}

export async function getCredential(db: Db, args: CredentialKey): Promise<StoredCredential> {
  const { sealed: _, ...credential } = await getSealedCredential(db, args)
  return credential
}

export async function getSealedCredential(
  db: Db,
  { workspaceId, vaultId, id }: CredentialKey,
): Promise<StoredCredential & { readonly sealed: string | null }> {
  await getVault(db, { workspaceId, id: vaultId })
  const credential = await db
    .selectFrom('vault_credentials')
    .select([...columns, 'sealed'])
    .where('workspace_id', '=', workspaceId)
    .where('vault_id', '=', vaultId)
    .where('id', '=', id)
    .executeTakeFirst()
  if (credential === undefined) throw notFound('credential', id)
  return credential
}

export async function listCredentials(
  db: Db,
  args: { workspaceId: string; vaultId: string; includeArchived: boolean; window: Window },
): Promise<StoredCredential[]> {
  await getVault(db, { workspaceId: args.workspaceId, id: args.vaultId })
  const scan = toScan(args.window)
  let query = db
    .selectFrom('vault_credentials')
    .select(columns)
    .where('workspace_id', '=', args.workspaceId)
    .where('vault_id', '=', args.vaultId)
    .orderBy('ord', scan.sort)
    .limit(scan.rows)
  if (args.window.from !== undefined) query = query.where('ord', scan.beyond, args.window.from)
  if (!args.includeArchived) query = query.where('archived_at', 'is', null)
  return query.execute()
}

export interface UpdateCredentialArgs extends CredentialKey {
  readonly change: Pick<UpdateCredentialBody, 'display_name' | 'metadata'>
  readonly auth: CredentialAuth
  /** Sealed for the version after `version`; null: the secrets are what they were. */
  readonly sealed: string | null
  /** That it had when the change was made of it. */
  readonly version: number
  readonly now: string
}

/** `conflict` when its secrets have changed since. */
export async function updateCredential(db: Db, args: UpdateCredentialArgs): Promise<StoredCredential> {
  const stored = await getCredential(db, args)
  if (stored.archived_at !== null) throw invalid('credential_id', `${args.id} is archived and cannot be changed`)
  if (stored.version !== args.version) throw new BerthError('conflict', `credential ${args.id} was changed meanwhile`)
  const before = parseMetadata(stored.metadata)
  const metadata = patchMetadata(before, args.change.metadata)
  const { display_name = stored.display_name } = args.change
  const isSame =
    args.sealed === null &&
    display_name === stored.display_name &&
    isDeepStrictEqual(metadata, before) &&
    isDeepStrictEqual(args.auth, parseAuth(stored.auth))
  if (isSame) return stored
  return db
    .updateTable('vault_credentials')
    .set({
      display_name,
      metadata: JSON.stringify(metadata),
      auth: JSON.stringify(args.auth),
      updated_at: args.now,
      ...(args.sealed === null ? {} : { sealed: args.sealed, version: stored.version + 1 }),
    })
    .where('id', '=', args.id)
    .returning(columns)
    .executeTakeFirstOrThrow()
}

/** Its secrets go, and another one may be for the same from now on. Archiving what is archived changes nothing. */
export async function archiveCredential(db: Db, args: CredentialKey & { now: string }): Promise<StoredCredential> {
  const stored = await getCredential(db, args)
  if (stored.archived_at !== null) return stored
  const gone = { sealed: null, archived_at: args.now }
  await db.updateTable('vault_credentials').set(gone).where('id', '=', args.id).execute()
  return { ...stored, archived_at: args.now }
}

export async function deleteCredential(db: Db, args: CredentialKey): Promise<void> {
  await getCredential(db, args)
  await db.deleteFrom('vault_credentials').where('id', '=', args.id).execute()
}

/** The variables that a session with these vaults has: of several vaults that have one of a name, the first gives it. */
export async function listVariables(
  db: Db,
  { workspaceId, vaultIds }: { workspaceId: string; vaultIds: readonly string[] },
): Promise<Variable[]> {
  if (vaultIds.length === 0) return []
  const rows = await db
    .selectFrom('vault_credentials')
    .select(['id', 'vault_id', 'auth'])
    .where('workspace_id', '=', workspaceId)
    .where('vault_id', 'in', vaultIds)
    .where('archived_at', 'is', null)
    .orderBy('ord')
    .execute()
  const variables = new Map<string, Variable>()
  for (const vaultId of vaultIds) {
    for (const { id, auth: json } of rows.filter((row) => row.vault_id === vaultId)) {
      const auth = parseAuth(json)
      if (auth.type !== 'environment_variable' || variables.has(auth.secret_name)) continue
      const { secret_name: name, networking } = auth
      variables.set(name, { name, vaultId, credentialId: id, hosts: networking.allowed_hosts })
    }
  }
  return [...variables.values()]
}
