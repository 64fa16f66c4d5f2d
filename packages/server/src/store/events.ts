/** Reading a session's log. */
import { sessionEvent, type SessionEvent } from '@berth/protocol/api/event'
import { sql } from 'kysely'
import type { SessionRow } from './session-log.ts'
import type { Db } from './store.ts'

export interface ListEventsArgs {
  readonly sessionId: string
  readonly order: 'asc' | 'desc'
  readonly limit: number
  readonly types: readonly string[] | null
  readonly processedFrom: string | null
  readonly processedAfter: string | null
  readonly processedUntil: string | null
  readonly processedBefore: string | null
  /** Head of the log when the listing began; null: begin now. */
  readonly head: number | null
  /** Rows of the listing that were answered before: the last one's rank. */
  readonly after: number | null
}

export interface EventPage {
  readonly events: SessionEvent[]
  readonly head: number
  /** Rank of the last row; null when there is no further row. */
  readonly after: number | null
}

/**
 * A listing is a snapshot: it shows the log as it stood when it began, so that a page never drops or repeats an event while others are
 * appended or queued inputs take their place. An event's rank is its place then; inputs that waited then come last, in order of arrival.
 */
export async function listEvents(db: Db, args: ListEventsArgs): Promise<EventPage> {
  const head = args.head ?? (await headOf(db, args.sessionId))
  // Queued at the snapshot: no place yet, or one that was given later. Ranks of waiting inputs lie beyond every place.
  const rank = sql<number>`case when place is null or place > ${head} then ${head} + seq else place end`
  let query = db
    .selectFrom('events')
    .select(['body', rank.as('rank')])
    .where('session_id', '=', args.sessionId)
    .where('seq', '<=', head)
    .orderBy(db.dynamic.ref('rank'), args.order)
    .limit(args.limit + 1)
  if (args.after !== null) query = query.where(rank, args.order === 'asc' ? '>' : '<', args.after)
  if (args.types !== null) query = query.where('type', 'in', [...args.types])
  if (args.processedFrom !== null) query = query.where('processed_at', '>=', args.processedFrom)
  if (args.processedAfter !== null) query = query.where('processed_at', '>', args.processedAfter)
  if (args.processedUntil !== null) query = query.where('processed_at', '<=', args.processedUntil)
  if (args.processedBefore !== null) query = query.where('processed_at', '<', args.processedBefore)
  const rows = await query.execute()
  const page = rows.slice(0, args.limit)
  return {
    events: page.map((row) => sessionEvent.parse(JSON.parse(row.body))),
    head,
    after: rows.length > args.limit ? (page.at(-1)?.rank ?? null) : null,
  }
}

async function headOf(db: Db, sessionId: string): Promise<number> {
  const row = await db.selectFrom('sessions').select('last_seq').where('id', '=', sessionId).executeTakeFirstOrThrow()
  return row.last_seq
}

/**
 * Position in the log up to which whoever has seen this event has surely seen everything; undefined when it is not in the log. A message
 * is seen twice, when it comes and when it is taken: by its id nobody can tell which, so that the first counts. Everything else takes its
 * place as it comes.
 */
export async function findPosition(db: Db, args: { sessionId: string; eventId: string }): Promise<number | undefined> {
  const row = await db
    .selectFrom('events')
    .select(['type', 'seq', 'place'])
    .where('session_id', '=', args.sessionId)
    .where('id', '=', args.eventId)
    .executeTakeFirst()
  return row?.type === 'user.message' ? row.seq : (row?.place ?? undefined)
}

/** Events that took their place after the position, oldest first. */
export async function listEventsAfter(
  db: Db,
  args: { sessionId: string; after: number; limit: number },
): Promise<{ place: number; event: SessionEvent }[]> {
  const rows = await db
    .selectFrom('events')
    .select(['place', 'body'])
    .where('session_id', '=', args.sessionId)
    .where('place', '>', args.after)
    .orderBy('place')
    .limit(args.limit)
    .execute()
  return rows.flatMap(({ place, body }) =>
    place === null ? [] : [{ place, event: sessionEvent.parse(JSON.parse(body)) }],
  )
}

/** Raw SDK messages with numbers above `after`. */
export async function listSdkMessages(
  db: Db,
  args: { sessionId: string; after: number; limit: number },
): Promise<{ seq: number; body: string }[]> {
  return db
    .selectFrom('sdk_messages')
    .select(['seq', 'body'])
    .where('session_id', '=', args.sessionId)
    .where('seq', '>', args.after)
    .orderBy('seq')
    .limit(args.limit)
    .execute()
}

export async function findSession(
  db: Db,
  args: { sessionId: string; workspaceId?: string },
): Promise<SessionRow | undefined> {
  let query = db.selectFrom('sessions').selectAll().where('id', '=', args.sessionId)
  if (args.workspaceId !== undefined) query = query.where('workspace_id', '=', args.workspaceId)
  return query.executeTakeFirst()
}

/** Sessions that have work or a sandbox: what a starting server must look after. */
export async function listLiveSessions(db: Db, _args: object): Promise<SessionRow[]> {
  return db
    .selectFrom('sessions')
    .selectAll()
    .where((where) =>
      where.or([where('status', 'in', ['running', 'rescheduling']), where('sandbox_id', 'is not', null)]),
    )
    .execute()
}

/** Is there an input that the runner does not have yet, and none inside? */
export async function findHasInput(db: Db, args: { sessionId: string }): Promise<boolean> {
  const head = await db
    .selectFrom('inputs')
    .select('state')
    .where('session_id', '=', args.sessionId)
    .where('state', '!=', 'done')
    .orderBy('seq')
    .limit(1)
    .executeTakeFirst()
  return head?.state === 'queued'
}
