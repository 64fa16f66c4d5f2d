import { join } from 'node:path'
import { newKey } from '@berth/server'
import { openSqliteStore } from '@berth/server/store/sqlite/open'

/** Makes a second workspace beside the default one, while the server runs; answers a key of it. */
export async function otherWorkspaceKey(dataDir: string): Promise<string> {
  await using store = await openSqliteStore(join(dataDir, 'berth.db'))
  const workspaceId = 'wrkspc_other'
  const now = new Date().toISOString()
  const { key, hash, hint } = newKey()
  await store.ensureWorkspace({ id: workspaceId, name: 'Other', now })
  await store.createKey({ workspaceId, id: 'apikey_other', name: 'other', hash, hint, now })
  return key
}
