import { sql } from 'kysely'
import type { Selectable } from 'kysely'
import type { SessionStatus } from '@berth/protocol/api/session'
import type { Window } from '../domain/page.ts'
import { notFound } from '../domain/refusal.ts'
import type { Database } from './schema.ts'
import type { Db } from './store.ts'
import { toScan } from './window.ts'

type SessionRow = Selectable<Database['sessions']>

export interface SessionFilter {
  readonly agentId?: string | undefined
  /** Looked at only together with `agentId`. */
  readonly agentVersion?: number | undefined
  /** Empty: every status. */
  readonly statuses: readonly SessionStatus[]
  readonly includeArchived: boolean
}

export async function getSession(db: Db, args: { workspaceId: string; id: string }): Promise<SessionRow> {
  const session = await db
    .selectFrom('sessions')
    .selectAll()
    .where('workspace_id', '=', args.workspaceId)
    .where('id', '=', args.id)
    .executeTakeFirst()
  if (session === undefined) throw notFound('session', args.id)
  return session
}

export async function listSessions(
  db: Db,
  args: { workspaceId: string; filter: SessionFilter; window: Window },
): Promise<SessionRow[]> {
  const { filter, window } = args
  const scan = toScan(window)
  let query = db
    .selectFrom('sessions')
    .selectAll()
    .where('workspace_id', '=', args.workspaceId)
    .orderBy('ord', scan.sort)
    .limit(scan.rows)
  if (window.from !== undefined) query = query.where('ord', scan.beyond, window.from)
  for (const [comparison, time] of scan.created) query = query.where('created_at', comparison, time)
  if (!filter.includeArchived) query = query.where('archived_at', 'is', null)
  if (filter.statuses.length > 0) query = query.where('status', 'in', filter.statuses)
  if (filter.agentId !== undefined) {
    query = query.where('agent_id', '=', filter.agentId)
    if (filter.agentVersion !== undefined) query = query.where('agent_version', '=', filter.agentVersion)
  }
  return query.execute()
}

/** Those of these sessions that are there and not over, in no order. */
export async function listLivingOf(db: Db, args: { ids: readonly string[] }): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT sessions.id AS id FROM json_each(${JSON.stringify(args.ids)}) AS wanted
    CROSS JOIN sessions ON sessions.id = wanted.value
    WHERE sessions.status != 'terminated'`.execute(db)
  return rows.map(({ id }) => id)
}
