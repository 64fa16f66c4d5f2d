/** Vaults: credentials that sessions have the use of, and never the sight. */
import { z } from 'zod'
import { metadata, metadataPatch } from './metadata.ts'
import { idText, text, timestamp } from './text.ts'

const displayName = text({ min: 1, max: 255 })

export const createVaultBody = z
  .strictObject({ display_name: displayName, metadata: metadata.optional() })
  .meta({ id: 'CreateVaultParams' })
export type CreateVaultBody = z.infer<typeof createVaultBody>

export const updateVaultBody = z
  .strictObject({ display_name: displayName.nullish(), metadata: metadataPatch.nullish() })
  .meta({ id: 'UpdateVaultParams' })
export type UpdateVaultBody = z.infer<typeof updateVaultBody>

export const vault = z
  .object({
    id: idText,
    type: z.literal('vault'),
    display_name: z.string(),
    metadata,
    created_at: timestamp,
    updated_at: timestamp,
    archived_at: timestamp.nullable(),
  })
  .meta({ id: 'Vault' })
export type Vault = z.infer<typeof vault>

export const vaultDeleted = z.object({ id: idText, type: z.literal('vault_deleted') }).meta({ id: 'VaultDeleted' })
