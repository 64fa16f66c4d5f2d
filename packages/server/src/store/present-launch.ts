import type { Db } from './store.ts'

/** Is this the launch of a sandbox in which the session lives now? What an earlier one reports is nobody's. */
export async function isPresentLaunch(
  db: Db,
  session: { readonly sandbox_id: string | null },
  launch: { readonly sandboxId: string; readonly nonce: string },
): Promise<boolean> {
  if (session.sandbox_id !== launch.sandboxId) return false
  const row = await db.selectFrom('sandboxes').select('nonce').where('id', '=', launch.sandboxId).executeTakeFirst()
  return row?.nonce === launch.nonce
}
