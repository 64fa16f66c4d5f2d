import { invalid, notFound } from '../domain/refusal.ts'
import type { Db } from './store.ts'
import { findVault } from './vaults.ts'

/** Throws for the first that a new session cannot have. */
export async function checkVaults(db: Db, workspaceId: string, ids: readonly string[]): Promise<void> {
  for (const [index, id] of ids.entries()) {
    const field = `vault_ids.${index}`
    if (ids.indexOf(id) < index) throw invalid(field, `${id} is there twice`)
    const vault = await findVault(db, { workspaceId, id })
    if (vault === undefined) throw notFound(`${field}: vault`, id)
    if (vault.archived_at !== null) throw invalid(field, `${id} is archived`)
  }
}
