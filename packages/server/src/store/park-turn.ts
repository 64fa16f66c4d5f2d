/** A turn whose calls outlive the CLI that held them: kept while they wait, and ended without it. */
import { canBeHeld, fateOf, outcome } from '../domain/turn/held-calls.ts'
import { type Lost, MAX_FAILURES, worseLoss } from '../domain/turn/recovery.ts'
import { toResultContent } from '../domain/turn/tool-result.ts'
import { freshTurn, hasBegun, pendingEventIds } from '../domain/turn/turn-state.ts'
import { newId } from '../domain/ids.ts'
import { sessionFailure } from '../domain/turn/failure.ts'
import type { StopReason } from '@berth/protocol/api/event'
import type { InputState } from './schema.ts'
import type { SessionLog } from './session-log.ts'
import type { Db } from './store.ts'
import { TranscriptCalls } from './transcript-calls.ts'
import { restore } from './transcripts.ts'

interface Loss {
  readonly lost: Lost
  /** This loss has cut the turn before, and more of it has shown since. */
  readonly isCounted?: boolean
}

/**
 * The CLI is gone, with calls that have not begun. They wait on under their own ids; when none needs an answer, they are handed over again.
 * Answers false, and has changed nothing, when they cannot be kept: then the turn is cut as any other.
 */
export async function parkTurn(db: Db, log: SessionLog, { lost, isCounted = false }: Loss): Promise<boolean> {
  const { parked } = log.turn
  const inside = await insideOf(db, log)
  if (inside === undefined || log.turn.interrupted || (parked === null && !canBeHeld(log.turn))) return false
  if (parked !== null && inside === 'queued') {
    // About to be handed over: nothing of it was under way.
    log.turn = { ...log.turn, parked: { lost: worseLoss(parked.lost, lost) } }
    return true
  }
  const waits = pendingEventIds(log.turn).length > 0
  const failures = log.row.failures + (waits || isCounted ? 0 : 1)
  if (!waits && failures >= MAX_FAILURES) return false
  const calls = await TranscriptCalls.read(db, log)
  if (calls === undefined) return false
  for (const [id, call] of Object.entries(log.turn.calls)) {
    const result = calls.resultOf(id)
    if (result !== undefined) endAsWritten(log, id, result)
    else if (fateOf(call) === 'unknown') calls.end(id, failed(outcome.unknown), outcome.unknown)
    else call.reached = false
  }
  await calls.save()
  log.turn = { ...log.turn, request: null, cut: null, parked: { lost: worseLoss(parked?.lost ?? lost, lost) } }
  log.row.opened = null
  log.row.needs_restore = restore.cutBack
  log.row.failures = failures
  if (waits) askFor(log)
  else await wakeTurn(db, log)
  return true
}

/** The client has answered everything, or nothing is left to carry out: the actor takes it from here. */
export async function wakeTurn(db: Db, log: SessionLog): Promise<void> {
  await db
    .updateTable('inputs')
    .set({ state: 'queued' })
    .where('session_id', '=', log.row.id)
    .where('state', '=', 'delivered')
    .execute()
  if (log.row.status === 'idle') log.toRunning()
}

/** Ends what is left of a parked turn's calls without carrying out more, and the turn with them. The caller says what follows. */
export async function abandonCalls(db: Db, log: SessionLog, reason: StopReason): Promise<void> {
  await endCalls(db, log, outcome.interrupted)
  log.turn = { ...freshTurn, retrying: log.turn.retrying }
  log.row.failures = 0
  log.row.opened = null
  log.row.needs_restore = restore.cutBack
  log.command({ type: 'interrupt' })
  const open = await db
    .selectFrom('inputs')
    .select(['seq', 'event_id'])
    .where('session_id', '=', log.row.id)
    .where('state', '!=', 'done')
    .orderBy('seq')
    .execute()
  const [inside, ...waiting] = open
  if (inside !== undefined) {
    await db.updateTable('inputs').set({ state: 'done' }).where('event_id', '=', inside.event_id).execute()
  }
  if (waiting.length > 0) log.nextTurn()
  else log.toIdle(reason)
}

/** The runner cannot carry out the calls: the agent is told so instead, and clients are too. */
export async function refuseCalls(db: Db, log: SessionLog, detail: string): Promise<void> {
  const error = sessionFailure(
    'unknown_error',
    `held calls could not be carried out: ${detail}`.slice(0, 2_000),
    'retrying',
  )
  log.add({ id: newId('sevt'), type: 'session.error', error })
  await endCalls(db, log, outcome.didNotRun)
  await wakeTurn(db, log)
}

export function failed(text: string): { content: string; isError: true } {
  return { content: text, isError: true }
}

async function endCalls(db: Db, log: SessionLog, unbegun: string): Promise<void> {
  const calls = await TranscriptCalls.read(db, log)
  for (const [id, call] of Object.entries(log.turn.calls)) {
    const text = hasBegun(call) && call.kind !== 'custom' ? outcome.unknown : unbegun
    calls?.end(id, failed(text), text)
  }
  await calls?.save()
}

/** The CLI had its result before it ended, but the message that tells of it did not come. */
function endAsWritten(log: SessionLog, id: string, result: { content: unknown; isError: boolean }): void {
  const call = log.turn.calls[id]
  if (call === undefined) return
  delete log.turn.calls[id]
  if (call.kind === 'custom' && call.answer !== null) return
  log.addResult(call, toResultContent(result.content), result.isError)
}

function askFor(log: SessionLog): void {
  const event_ids = pendingEventIds(log.turn)
  const { status, stopReason } = log.situation
  const isAsked =
    status === 'idle' && stopReason?.type === 'requires_action' && stopReason.event_ids.join() === event_ids.join()
  if (!isAsked) log.toIdle({ type: 'requires_action', event_ids })
}

/** State of the turn's input; undefined when the agent began the turn by itself. */
async function insideOf(db: Db, log: SessionLog): Promise<InputState | undefined> {
  const inside = await db
    .selectFrom('inputs')
    .select('state')
    .where('session_id', '=', log.row.id)
    .where('state', '!=', 'done')
    .orderBy('seq')
    .limit(1)
    .executeTakeFirst()
  return inside?.state
}
