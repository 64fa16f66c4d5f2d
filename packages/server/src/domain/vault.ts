/** Vaults: what an update makes of one, and how a stored one looks on the wire. */
import { isDeepStrictEqual } from 'node:util'
import { metadata as metadataSchema, type Metadata } from '@berth/protocol/api/metadata'
import type { UpdateVaultBody, Vault } from '@berth/protocol/api/vault'
import { patchMetadata } from './metadata.ts'
import { invalid } from './refusal.ts'

/** A row of `vaults`. */
export interface StoredVault {
  readonly ord: number
  readonly id: string
  readonly display_name: string
  /** JSON. */
  readonly metadata: string
  readonly created_at: string
  readonly updated_at: string
  readonly archived_at: string | null
}

export function toWireVault(stored: StoredVault): Vault {
  const { id, display_name, created_at, updated_at, archived_at } = stored
  const metadata = parseMetadata(stored.metadata)
  return { id, type: 'vault', display_name, metadata, created_at, updated_at, archived_at }
}

/** Undefined: the update changes nothing. A name cannot be cleared: null keeps it. */
export function vaultChanges(
  stored: StoredVault,
  body: UpdateVaultBody,
): { display_name: string; metadata: string } | undefined {
  const before = { display_name: stored.display_name, metadata: parseMetadata(stored.metadata) }
  const display_name = body.display_name ?? before.display_name
  const after = { display_name, metadata: patchMetadata(before.metadata, body.metadata) }
  if (isDeepStrictEqual(after, before)) return undefined
  return { display_name, metadata: JSON.stringify(after.metadata) }
}

export function parseMetadata(json: string): Metadata {
  return metadataSchema.parse(JSON.parse(json))
}

/** Nothing of an archived one can be changed. */
export function checkNotArchived(vault: Pick<StoredVault, 'id' | 'archived_at'>): void {
  if (vault.archived_at !== null) throw invalid('vault_id', `${vault.id} is archived and cannot be changed`)
}
