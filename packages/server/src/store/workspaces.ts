import type { Db } from './store.ts'

/** Makes the workspace if it is not there yet. */
export async function ensureWorkspace(db: Db, args: { id: string; name: string; now: string }): Promise<void> {
  await db
    .insertInto('workspaces')
    .values({ id: args.id, name: args.name, created_at: args.now })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute()
}

export async function findWorkspace(db: Db, args: { id: string }): Promise<{ id: string; name: string } | undefined> {
  return db.selectFrom('workspaces').select(['id', 'name']).where('id', '=', args.id).executeTakeFirst()
}
