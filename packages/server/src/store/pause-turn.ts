/** A turn that rests because no model request may be made for it, and goes on when one may. */
import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import { isBudgetReached } from '../domain/budget.ts'
import { freshTurn } from '../domain/turn/turn-state.ts'
import { type Committed, SessionLog, type SessionRow } from './session-log.ts'
import type { Db } from './store.ts'

/** What the agent is told when it goes on, in the form of an input's continuation. It begins with the words that the CLI itself uses. */
export const resumption = JSON.stringify([
  {
    type: 'text',
    text: 'Continue from where you left off.\n\nThe session had reached a limit on its cost and goes on now.',
  },
])

const PAUSED = JSON.stringify({ type: 'budget_reached' })
const MAX_LISTED = 1_000

/** Answers false, and has changed nothing, where the turn ended otherwise. What was queued behind it waits with it. */
export async function pauseTurn(db: Db, log: SessionLog): Promise<boolean> {
  const { paused, interrupted } = log.turn
  // An interrupt ends what goes on now; what rested before the agent began to work by itself rests on.
  const isHeld = (await inputIn(db, log.row.id, 'paused')) !== undefined
  if (paused === null || (interrupted && !isHeld)) return false
  log.turn = { ...freshTurn, paused }
  log.row.failures = 0
  await setState(db, log.row.id, { from: 'delivered', to: 'paused' })
  log.toIdle({ type: 'budget_reached' })
  return true
}

/**
 * The turn that rests goes on, and what is queued behind it; nothing where the session has cost all that it may. That no other limit stands
 * in the way is for the caller to know: the gateway would refuse it again.
 */
export async function resumeTurn(db: Db, log: SessionLog): Promise<void> {
  if (log.row.status !== 'idle' || log.turn.paused === null || isBudgetReached(log.row, new Date(log.now))) return
  log.turn = freshTurn
  const held = await inputIn(db, log.row.id, 'paused')
  if (held?.is_taken === 1) {
    const again = { uuid: randomUUID(), continuation: resumption, is_taken: 0 }
    await db.updateTable('inputs').set(again).where('event_id', '=', held.event_id).execute()
  }
  await setState(db, log.row.id, { from: 'paused', to: 'queued' })
  if ((await inputIn(db, log.row.id, 'queued')) !== undefined) log.toRunning()
}

/** The same for a session that nobody has changed. */
export async function resumeSession(
  db: Db,
  args: { readonly sessionId: string; readonly epoch: number; readonly now: string },
): Promise<Committed> {
  const log = await SessionLog.load(db, args)
  await resumeTurn(db, log)
  return log.save()
}

/** Those that rest, oldest first. */
export async function listPausedSessions(db: Db, _args: object): Promise<SessionRow[]> {
  return (
    db
      .selectFrom('sessions')
      .selectAll()
      .where('status', '=', 'idle')
      .where('stop_reason', '=', PAUSED)
      // A fork begins where another rests, and has nothing to go on with.
      .where(sql<boolean>`turn ->> 'paused' IS NOT NULL`)
      .orderBy('ord')
      .limit(MAX_LISTED)
      .execute()
  )
}

async function inputIn(
  db: Db,
  sessionId: string,
  state: 'paused' | 'queued',
): Promise<{ event_id: string; is_taken: number } | undefined> {
  return db
    .selectFrom('inputs')
    .select(['event_id', 'is_taken'])
    .where('session_id', '=', sessionId)
    .where('state', '=', state)
    .orderBy('seq')
    .limit(1)
    .executeTakeFirst()
}

async function setState(
  db: Db,
  sessionId: string,
  { from, to }: { from: 'delivered' | 'paused'; to: 'paused' | 'queued' },
): Promise<void> {
  await db
    .updateTable('inputs')
    .set({ state: to })
    .where('session_id', '=', sessionId)
    .where('state', '=', from)
    .execute()
}
