/** Packs and what is in them. A pack belongs to the save that wrote it until a checkpoint is committed with it; till then nobody else sees it. */
import { sql } from 'kysely'
import type { ChunkPlace } from '../domain/checkpoint.ts'
import type { Db } from './store.ts'

export interface AddPackArgs {
  readonly workspaceId: string
  readonly saveId: string
  readonly id: string
  /** Size of the blob. */
  readonly bytes: number
  /** Some thousands at most: they are written in one transaction. */
  readonly chunks: readonly Omit<ChunkPlace, 'pack'>[]
}

export interface StoredPack {
  readonly id: string
  readonly workspaceId: string
}

export interface FindChunksArgs {
  readonly workspaceId: string
  readonly hashes: readonly string[]
  /** None of a pack in which damage was found. */
  readonly sound?: boolean
}

/** More than there are packs: what comes before the age of one. */
const FIRST = 1_000_000_000_000

/** The places of those hashes that the workspace has, in no order; of several places of a hash the newest in which no damage was found. */
export async function findChunks(db: Db, args: FindChunksArgs): Promise<ChunkPlace[]> {
  const { rows } = await sql<ChunkPlace & { best: number }>`
    SELECT chunks.hash AS hash, packs.id AS pack, max((1 - packs.is_damaged) * ${FIRST} + packs.ord) AS best, chunks.frame_start AS frameStart,
      chunks.frame_length AS frameLength, chunks.start AS start, chunks.length AS length
    FROM json_each(${JSON.stringify(args.hashes)}) AS wanted
    CROSS JOIN chunks ON chunks.hash = wanted.value
    CROSS JOIN packs ON packs.ord = chunks.pack
    WHERE packs.workspace_id = ${args.workspaceId} AND packs.save_id IS NULL
      AND packs.is_damaged <= ${args.sound === true ? 0 : 1}
    GROUP BY chunks.hash`.execute(db)
  return rows.map(({ hash, pack, frameStart, frameLength, start, length }) => {
    return { hash, pack, frameStart, frameLength, start, length }
  })
}

/** The blob is durable before this is called. */
export async function addPack(db: Db, args: AddPackArgs): Promise<void> {
  const { ord } = await db
    .insertInto('packs')
    .values({ id: args.id, workspace_id: args.workspaceId, bytes: args.bytes, save_id: args.saveId, is_damaged: 0 })
    .returning('ord')
    .executeTakeFirstOrThrow()
  const rows = args.chunks.map((chunk) => [chunk.hash, chunk.frameStart, chunk.frameLength, chunk.start, chunk.length])
  // In the order of their keys, which is what the tree of the table likes best.
  await sql`
    INSERT INTO chunks (hash, pack, frame_start, frame_length, start, length)
    SELECT value ->> 0, ${ord}, value ->> 1, value ->> 2, value ->> 3, value ->> 4
    FROM json_each(${JSON.stringify(rows)}) ORDER BY 1`.execute(db)
}

/**
 * With its chunks. `uncommitted`: only as long as no checkpoint was committed with it. True when there is no such pack now, whose blob is to
 * be deleted then.
 */
export async function removePack(db: Db, args: { id: string; uncommitted: boolean }): Promise<boolean> {
  const pack = await db.selectFrom('packs').select(['ord', 'save_id']).where('id', '=', args.id).executeTakeFirst()
  if (pack === undefined) return true
  if (args.uncommitted && pack.save_id === null) return false
  await db.deleteFrom('chunks').where('pack', '=', pack.ord).execute()
  await db.deleteFrom('packs').where('ord', '=', pack.ord).execute()
  return true
}

/** Damage was found in it: from now on nothing new relies on it. Nothing where there is no such pack. */
export async function distrustPack(db: Db, args: { id: string }): Promise<void> {
  await db.updateTable('packs').set({ is_damaged: 1 }).where('id', '=', args.id).execute()
}

/** Whether damage was found in a pack of the workspace that is still there. */
export async function hasDamagedPacks(db: Db, args: { workspaceId: string }): Promise<boolean> {
  const query = db.selectFrom('packs').select('ord').where('workspace_id', '=', args.workspaceId)
  return (await query.where('is_damaged', '=', 1).limit(1).executeTakeFirst()) !== undefined
}

/** Packs that checkpoints were committed with. */
export async function listPacks(db: Db, args: { workspaceId: string }): Promise<StoredPack[]> {
  return db
    .selectFrom('packs')
    .select(['id', 'workspace_id as workspaceId'])
    .where('workspace_id', '=', args.workspaceId)
    .where('save_id', 'is', null)
    .execute()
}

/** Packs of one save that are not committed; null: of every save. */
export async function listUncommittedPacks(db: Db, args: { saveId: string | null }): Promise<StoredPack[]> {
  const query = db.selectFrom('packs').select(['id', 'workspace_id as workspaceId']).where('save_id', 'is not', null)
  return (args.saveId === null ? query : query.where('save_id', '=', args.saveId)).execute()
}

/** Those of these packs that there are, committed or not. */
export async function findPacks(db: Db, args: { ids: readonly string[] }): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT packs.id AS id FROM json_each(${JSON.stringify(args.ids)}) AS wanted CROSS JOIN packs ON packs.id = wanted.value`.execute(
    db,
  )
  return rows.map(({ id }) => id)
}

/** Workspaces that have packs. */
export async function listPackWorkspaces(db: Db, _args: Record<string, never>): Promise<string[]> {
  const rows = await db.selectFrom('packs').select('workspace_id').distinct().execute()
  return rows.map((row) => row.workspace_id)
}
