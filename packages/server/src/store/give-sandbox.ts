/** What becomes of a session's side of the link when it gets a sandbox, or another launch of its own. */
import { findNewestCheckpoint } from './checkpoints.ts'
import type { Db } from './store.ts'
import { listTranscriptSizes, restore } from './transcripts.ts'

/** The session lives in a sandbox from now on that has nothing of it yet. */
export async function giveSandbox(db: Db, args: { sessionId: string; sandboxId: string }): Promise<void> {
  await startLink(db, args.sessionId)
  const hasTranscript = Object.keys(await listTranscriptSizes(db, args)).length > 0
  const hasFiles = (await findNewestCheckpoint(db, args)) !== undefined
  await db
    .updateTable('sessions')
    .set({
      sandbox_id: args.sandboxId,
      needs_restore: hasTranscript ? restore.newSandbox : restore.nothing,
      files_in: hasFiles ? null : args.sandboxId,
    })
    .where('id', '=', args.sessionId)
    .execute()
}

/** Is there anything that a new sandbox of the session has to be given? */
export async function hasHistory(db: Db, sessionId: string): Promise<boolean> {
  if (Object.keys(await listTranscriptSizes(db, { sessionId })).length > 0) return true
  return (await findNewestCheckpoint(db, { sessionId })) !== undefined
}

/** Nothing has been said yet, either way. */
export async function startLink(db: Db, sessionId: string): Promise<void> {
  await takeBack(db, sessionId)
  await db.deleteFrom('outbox').where('session_id', '=', sessionId).execute()
  await db
    .updateTable('sessions')
    .set({ opened: null, link_received: 0, link_sent: 0 })
    .where('id', '=', sessionId)
    .execute()
}

/** What was handed to a sandbox of which nothing was ever heard waits again. */
export async function takeBack(db: Db, sessionId: string): Promise<void> {
  const session = await db.selectFrom('sessions').select('link_received').where('id', '=', sessionId).executeTakeFirst()
  if (session?.link_received !== 0) return
  await db
    .updateTable('inputs')
    .set({ state: 'queued' })
    .where('session_id', '=', sessionId)
    .where('state', '=', 'delivered')
    .execute()
}
