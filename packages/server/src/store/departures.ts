/** Sessions that are over and leave a sandbox in which others live: what they leave there is noted until it is removed. */
import type { SessionRow } from './session-log.ts'
import type { Db } from './store.ts'

export interface Departure {
  readonly sandbox_id: string
  readonly session_id: string
  readonly uid: number
  readonly subdir: string
}

/** The session is over. Answers its sandbox when that is nobody's now; null: it has none, or others live there. */
export async function leaveSandbox(db: Db, session: SessionRow): Promise<string | null> {
  const { id: session_id, sandbox_id, uid, subdir } = session
  if (sandbox_id === null) return null
  const other = await db
    .selectFrom('sessions')
    .select('id')
    .where('sandbox_id', '=', sandbox_id)
    .where('id', '!=', session_id)
    .where('status', '!=', 'terminated')
    .executeTakeFirst()
  if (other === undefined) return sandbox_id
  await db.insertInto('departures').values({ sandbox_id, session_id, uid, subdir }).execute()
  return null
}

export async function listDepartures(db: Db, _args: object): Promise<Departure[]> {
  return db.selectFrom('departures').selectAll().execute()
}

/** Nothing of it is left in the sandbox. */
export async function endDeparture(db: Db, args: { sandboxId: string; sessionId: string }): Promise<void> {
  await db
    .deleteFrom('departures')
    .where('sandbox_id', '=', args.sandboxId)
    .where('session_id', '=', args.sessionId)
    .execute()
}
