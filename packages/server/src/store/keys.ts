import type { KeyScope } from '@berth/protocol/api/key'
import { notFound } from '../domain/refusal.ts'
import type { Window } from '../domain/page.ts'
import type { Db } from './store.ts'
import { toScan } from './window.ts'

/** An API key without its hash. */
export interface StoredKey {
  readonly ord: number
  readonly id: string
  readonly workspace_id: string
  readonly name: string
  readonly hint: string
  readonly scope: KeyScope
  readonly created_at: string
  readonly expires_at: string | null
  readonly last_used_at: string | null
  readonly revoked_at: string | null
}

interface NewStoredKey {
  readonly workspaceId: string
  readonly id: string
  readonly name: string
  readonly hash: string
  readonly hint: string
  /** Default: full. */
  readonly scope?: KeyScope
  /** Default: never. */
  readonly expiresAt?: string | null
  readonly now: string
}

const columns = [
  'ord',
  'id',
  'workspace_id',
  'name',
  'hint',
  'scope',
  'created_at',
  'expires_at',
  'last_used_at',
  'revoked_at',
] as const

export async function createKey(db: Db, args: NewStoredKey): Promise<StoredKey> {
  return db.insertInto('api_keys').values(toRow(args)).returning(columns).executeTakeFirstOrThrow()
}

/** Makes the key unless one of this hash exists; one that was revoked stays revoked. */
export async function ensureKey(db: Db, args: NewStoredKey): Promise<void> {
  await db
    .insertInto('api_keys')
    .values(toRow(args))
    .onConflict((conflict) => conflict.column('hash').doNothing())
    .execute()
}

function toRow(args: NewStoredKey) {
  return {
    id: args.id,
    workspace_id: args.workspaceId,
    name: args.name,
    hash: args.hash,
    hint: args.hint,
    scope: args.scope ?? 'full',
    created_at: args.now,
    expires_at: args.expiresAt ?? null,
    last_used_at: null,
    revoked_at: null,
  }
}

/** Without a workspace: it is what tells the workspace. Revoked keys are found too. */
export async function findKeyByHash(
  db: Db,
  args: { hash: string },
): Promise<(StoredKey & { readonly hash: string }) | undefined> {
  return db.selectFrom('api_keys').select(columns).select('hash').where('hash', '=', args.hash).executeTakeFirst()
}

/** Of the keys of all workspaces that hold, those that were used or made last. */
export async function listKeyHashes(db: Db, args: { now: string; limit: number }): Promise<string[]> {
  const rows = await db
    .selectFrom('api_keys')
    .select('hash')
    .where('revoked_at', 'is', null)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', args.now)]))
    .orderBy((by) => by.fn.coalesce('last_used_at', 'created_at'), 'desc')
    .limit(args.limit)
    .execute()
  return rows.map(({ hash }) => hash)
}

/** Revoked keys are found too. */
export async function findKey(db: Db, args: { workspaceId: string; id: string }): Promise<StoredKey | undefined> {
  return db
    .selectFrom('api_keys')
    .select(columns)
    .where('workspace_id', '=', args.workspaceId)
    .where('id', '=', args.id)
    .executeTakeFirst()
}

/** Of these keys the ones that have come to an end: revoked, expired or gone. */
export async function findEndedKeys(db: Db, args: { ids: readonly string[]; now: string }): Promise<string[]> {
  const rows = await db
    .selectFrom('api_keys')
    .select('id')
    .where('id', 'in', args.ids)
    .where('revoked_at', 'is', null)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', args.now)]))
    .execute()
  const good = new Set(rows.map(({ id }) => id))
  return args.ids.filter((id) => !good.has(id))
}

export async function listKeys(db: Db, args: { workspaceId: string; window: Window }): Promise<StoredKey[]> {
  const scan = toScan(args.window)
  let query = db
    .selectFrom('api_keys')
    .select(columns)
    .where('workspace_id', '=', args.workspaceId)
    .orderBy('ord', scan.sort)
    .limit(scan.rows)
  if (args.window.from !== undefined) query = query.where('ord', scan.beyond, args.window.from)
  return query.execute()
}

/** From the next request on. Revoking what is revoked changes nothing. */
export async function revokeKey(db: Db, args: { workspaceId: string; id: string; now: string }): Promise<StoredKey> {
  const stored = await db
    .selectFrom('api_keys')
    .select(columns)
    .where('workspace_id', '=', args.workspaceId)
    .where('id', '=', args.id)
    .executeTakeFirst()
  if (stored === undefined) throw notFound('API key', args.id)
  if (stored.revoked_at !== null) return stored
  await db.updateTable('api_keys').set({ revoked_at: args.now }).where('id', '=', args.id).execute()
  return { ...stored, revoked_at: args.now }
}

export async function touchKey(db: Db, args: { id: string; now: string }): Promise<void> {
  await db.updateTable('api_keys').set({ last_used_at: args.now }).where('id', '=', args.id).execute()
}
