/** How long sandboxes are alive: counted while they are, and added up per day. Those who live in one together have equal shares of its time. */
import { sql } from 'kysely'
import type { Db } from './store.ts'

const DAY_MS = 86_400_000
/** Without a server that renews it, a sandbox lives no longer than this: what is counted late is counted no longer. */
const LONGEST_MS = 65 * 60_000

/** Adds what has passed since it was counted last: for one sandbox, or for all; or for those that were not counted since `before`. */
export async function noteSandboxTime(
  db: Db,
  args: { readonly sandboxId?: string | undefined; readonly before?: string | undefined; readonly now: string },
): Promise<void> {
  let query = db
    .selectFrom('sandboxes')
    .innerJoin('sessions', 'sessions.sandbox_id', 'sandboxes.id')
    .select([
      'sandboxes.id as sandboxId',
      'sandboxes.counted_to as countedTo',
      'sessions.id as session_id',
      'sessions.agent_id as agent_id',
      'sessions.workspace_id as workspace_id',
    ])
    .where('sandboxes.counted_to', 'is not', null)
    .where('sessions.status', '!=', 'terminated')
  if (args.sandboxId !== undefined) query = query.where('sandboxes.id', '=', args.sandboxId)
  if (args.before !== undefined) query = query.where('sandboxes.counted_to', '<', args.before)
  const rows = await query.execute()
  for (const { sandboxId, countedTo, ...owner } of rows) {
    const sharers = rows.filter((row) => row.sandboxId === sandboxId).length
    const spans = spansOf(countedTo ?? args.now, args.now)
    for (const { day, ms } of spans) {
      await db
        .insertInto('sandbox_time')
        .values({ ...owner, day, ms: Math.round(ms / sharers) })
        .onConflict((conflict) =>
          conflict
            .columns(['workspace_id', 'day', 'agent_id', 'session_id'])
            .doUpdateSet({ ms: sql<number>`sandbox_time.ms + excluded.ms` }),
        )
        .execute()
    }
    await db.updateTable('sandboxes').set({ counted_to: args.now }).where('id', '=', sandboxId).execute()
  }
}

/** The sandbox is alive no more, or is about to be no session's. */
export async function endSandboxTime(db: Db, sandboxId: string, now: string): Promise<void> {
  await noteSandboxTime(db, { sandboxId, now })
  await db.updateTable('sandboxes').set({ counted_to: null }).where('id', '=', sandboxId).execute()
}

/** Milliseconds per day (UTC), from one time to another. */
export function spansOf(from: string, to: string): { day: string; ms: number }[] {
  const spans: { day: string; ms: number }[] = []
  let at = Date.parse(from)
  const end = Math.min(Date.parse(to), at + LONGEST_MS)
  while (at < end) {
    const next = Math.min(end, (Math.floor(at / DAY_MS) + 1) * DAY_MS)
    spans.push({ day: new Date(at).toISOString().slice(0, 10), ms: next - at })
    at = next
  }
  return spans
}

export type TimeGroup = 'day' | 'agent' | 'session'

export interface TimeQuestion {
  readonly workspaceId: string
  readonly agentId: string | undefined
  readonly sessionId: string | undefined
  readonly fromDay: string | undefined
  readonly toDay: string | undefined
  readonly groupBy: readonly TimeGroup[]
  /** Groups behind this one. */
  readonly after: readonly string[] | undefined
  readonly limit: number
}

const columns = { day: 'day', agent: 'agent_id', session: 'session_id' } as const

/** By key, ascending. Without groups: one sum of all. */
export async function listSandboxTime(db: Db, args: TimeQuestion): Promise<{ key: string[]; ms: number }[]> {
  const keys = args.groupBy.map((group) => columns[group])
  let query = db
    .selectFrom('sandbox_time')
    .select(({ fn }) => [...keys, fn.coalesce(fn.sum<number>('ms'), sql<number>`0`).as('ms')])
    .where('workspace_id', '=', args.workspaceId)
    .limit(args.limit)
  if (args.agentId !== undefined) query = query.where('agent_id', '=', args.agentId)
  if (args.sessionId !== undefined) query = query.where('session_id', '=', args.sessionId)
  if (args.fromDay !== undefined) query = query.where('day', '>=', args.fromDay)
  if (args.toDay !== undefined) query = query.where('day', '<=', args.toDay)
  if (args.after !== undefined && keys.length > 0) {
    const left = sql.join(keys.map((key) => sql.ref(key)))
    query = query.where(sql<boolean>`(${left}) > (${sql.join([...args.after])})`)
  }
  for (const key of keys) query = query.groupBy(key).orderBy(key)
  const rows = await query.execute()
  return rows.map((row) => ({ key: keys.map((key) => row[key]), ms: row.ms }))
}
