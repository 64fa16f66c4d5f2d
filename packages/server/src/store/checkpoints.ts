import type { Selectable } from 'kysely'
import type { ArchiveRoot } from '@berth/protocol/archive'
import { toTree } from '../domain/checkpoint.ts'
import { dirsOf } from '../domain/session-dirs.ts'
import { notFound } from '../domain/refusal.ts'
import type { Window } from '../domain/page.ts'
import type { Database } from './schema.ts'
import type { Db } from './store.ts'
import { toScan } from './window.ts'

export type CheckpointRow = Selectable<Database['checkpoints']>
/** Without the list of segments, which may be long. */
export type CheckpointSummary = Omit<CheckpointRow, 'segments'>

const summary = [
  'ord',
  'id',
  'workspace_id',
  'session_id',
  'created_at',
  'seq',
  'why',
  'sdk_session_id',
  'transcripts',
  'roots',
  'entries',
  'bytes',
  'stored_bytes',
  'refused',
  'refused_count',
  'is_damaged',
] as const

export async function findCheckpoint(
  db: Db,
  args: { workspaceId: string; id: string },
): Promise<CheckpointRow | undefined> {
  return db
    .selectFrom('checkpoints')
    .selectAll()
    .where('id', '=', args.id)
    .where('workspace_id', '=', args.workspaceId)
    .executeTakeFirst()
}

/** The newest of a session that is not known to be damaged; with `notAfter`, the newest that stands for no later place of the log. */
export async function findNewestCheckpoint(
  db: Db,
  args: { sessionId: string; notAfter?: number | undefined },
): Promise<CheckpointRow | undefined> {
  let query = db
    .selectFrom('checkpoints')
    .selectAll()
    .where('session_id', '=', args.sessionId)
    .where('is_damaged', '=', 0)
  if (args.notAfter !== undefined) query = query.where('seq', '<=', args.notAfter)
  return query.orderBy('ord', 'desc').limit(1).executeTakeFirst()
}

/** Whether the last checkpoint that the session took is known to be damaged. */
export async function findIsNewestDamaged(db: Db, args: { sessionId: string }): Promise<boolean> {
  const newest = await db
    .selectFrom('checkpoints')
    .select('is_damaged')
    .where('session_id', '=', args.sessionId)
    .orderBy('ord', 'desc')
    .limit(1)
    .executeTakeFirst()
  return newest?.is_damaged === 1
}

export async function listCheckpoints(
  db: Db,
  args: { workspaceId: string; sessionId: string; window: Window },
): Promise<CheckpointSummary[]> {
  const scan = toScan(args.window)
  let query = db
    .selectFrom('checkpoints')
    .select(summary)
    .where('workspace_id', '=', args.workspaceId)
    .where('session_id', '=', args.sessionId)
    .orderBy('ord', scan.sort)
    .limit(scan.rows)
  if (args.window.from !== undefined) query = query.where('ord', scan.beyond, args.window.from)
  for (const [comparison, time] of scan.created) query = query.where('created_at', comparison, time)
  return query.execute()
}

/** `not_found` unless it is there. Its bytes go with the next collection. */
export async function removeCheckpoint(db: Db, args: { workspaceId: string; id: string }): Promise<void> {
  const { numDeletedRows } = await db
    .deleteFrom('checkpoints')
    .where('id', '=', args.id)
    .where('workspace_id', '=', args.workspaceId)
    .executeTakeFirstOrThrow()
  if (numDeletedRows === 0n) throw notFound('checkpoint', args.id)
}

/** The segments of every checkpoint of a workspace, in parts: those beyond `after`, which is 0 at first. */
export async function listCheckpointSegments(
  db: Db,
  args: { workspaceId: string; after: number; limit: number },
): Promise<{ ord: number; segments: string }[]> {
  return db
    .selectFrom('checkpoints')
    .select(['ord', 'segments'])
    .where('workspace_id', '=', args.workspaceId)
    .where('ord', '>', args.after)
    .orderBy('ord')
    .limit(args.limit)
    .execute()
}

/** Another session begins with the files of this checkpoint: it gets one of its own with the same tree. `not_found` unless it is there. */
export async function copyCheckpoint(
  db: Db,
  args: { workspaceId: string; from: string; id: string; sessionId: string; seq: number; now: string },
): Promise<CheckpointRow> {
  const source = await findCheckpoint(db, { workspaceId: args.workspaceId, id: args.from })
  if (source === undefined) throw notFound('checkpoint', args.from)
  const session = await db
    .selectFrom('sessions')
    .select(['name_inside', 'subdir', 'sdk_session_id'])
    .where('id', '=', args.sessionId)
    .where('workspace_id', '=', args.workspaceId)
    .executeTakeFirstOrThrow(() => notFound('session', args.sessionId))
  const { ord: _, ...rest } = source
  const { sdk_session_id } = session
  const roots = JSON.stringify(toTree(source).roots.map((root) => ({ ...root, path: pathOf(session, root) })))
  const own = { id: args.id, session_id: args.sessionId, seq: args.seq, created_at: args.now, sdk_session_id, roots }
  const row = { ...rest, ...own, why: 'fork' as const, stored_bytes: 0 }
  return db.insertInto('checkpoints').values(row).returningAll().executeTakeFirstOrThrow()
}

/** Where the root's files are for that session. */
function pathOf(session: Parameters<typeof dirsOf>[0], { name, path }: ArchiveRoot): string {
  const dirs = dirsOf(session)
  switch (name) {
    case 'workspace':
      return dirs.cwd
    case 'home':
      return dirs.home
    case 'outputs':
      return dirs.outputs
    default:
      return path
  }
}
