import { BerthError } from '@berth/protocol'
import type { Db } from './store.ts'

/** In `meta`: of which key the vaults are sealed. */
export const vaultKeyEntry = 'vault_key'

/**
 * Vaults are sealed by the key with this fingerprint from now on. `invalid_request` when there are vaults that were sealed by another one: with
 * this one they would never open.
 */
export async function bindVaultKey(db: Db, { fingerprint }: { fingerprint: string }): Promise<void> {
  const bound = await db.selectFrom('meta').select('value').where('key', '=', vaultKeyEntry).executeTakeFirst()
  if (bound?.value === fingerprint) return
  const vault = await db.selectFrom('vaults').select('id').limit(1).executeTakeFirst()
  if (bound !== undefined && vault !== undefined) throw otherKey()
  await db
    .insertInto('meta')
    .values({ key: vaultKeyEntry, value: fingerprint })
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ value: fingerprint }))
    .execute()
}

export function otherKey(): BerthError {
  return new BerthError(
    'invalid_request',
    'the key for vaults is not the one that the vaults of this database were sealed with: start with that one',
  )
}
