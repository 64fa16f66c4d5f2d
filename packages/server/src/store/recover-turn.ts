/** Applies a recovery plan to a session whose turn was cut. */
import { environmentConfig } from '@berth/protocol/api/environment'
import { type SessionError, sessionEvent } from '@berth/protocol/api/event'
import { z } from 'zod'
import { newId } from '../domain/ids.ts'
import { toModelContent } from '../domain/model-content.ts'
import { begunText, continuationText, type OpenCall, planRecovery } from '../domain/turn/recovery.ts'
import { freshTurn } from '../domain/turn/turn-state.ts'
import type { SessionLog } from './session-log.ts'
import type { Db } from './store.ts'
import { cutTranscript } from './transcripts.ts'

const blocks = z.array(z.unknown())

export interface Cut {
  /** What went away. */
  readonly lost: 'process' | 'sandbox'
  readonly error: SessionError
  /** Events of the calls that had begun and have no result. */
  readonly begunEventIds: readonly string[]
}

/** Leaves the session rescheduling, with an input that can be handed over; or, where there is no point in going on, with the turn ended. */
export async function recoverTurn(db: Db, log: SessionLog, cut: Cut): Promise<void> {
  log.turn = freshTurn
  const inside = await db
    .selectFrom('inputs')
    .selectAll()
    .where('session_id', '=', log.row.id)
    .where('state', '=', 'delivered')
    .executeTakeFirst()
  if (inside === undefined) return endWithoutInput(db, log, cut)
  log.row.failures += 1
  const plan = planRecovery({
    policy: environmentConfig.parse(JSON.parse(log.row.environment)).berth.on_interrupted_turn,
    failures: log.row.failures,
    isTaken: inside.is_taken === 1,
  })
  switch (plan) {
    case 'give_up':
    case 'stop':
      return giveUp(db, log, cut.error)
    case 'redeliver':
      if (cut.begunEventIds.length > 0) await tellOfCalls(db, inside, cut)
      break
    case 'rerun':
      await cutTranscript(db, { sessionId: log.row.id, uuid: inside.uuid })
      log.row.needs_restore = 1
      log.row.opened = null
      break
    case 'continue': {
      const text = continuationText(await readCalls(db, cut.begunEventIds), cut.lost)
      await setInput(db, inside.event_id, {
        uuid: crypto.randomUUID(),
        continuation: JSON.stringify([{ type: 'text', text }]),
        is_taken: 0,
      })
      break
    }
    default:
      return plan satisfies never
  }
  await setInput(db, inside.event_id, { state: 'queued' })
  showRescheduled(log, cut.error)
}

/** The agent does not know of the input, but something was done for it: it gets the input together with what is unknown. */
async function tellOfCalls(
  db: Db,
  input: { readonly event_id: string; readonly continuation: string | null },
  cut: Cut,
): Promise<void> {
  const note = `<system-reminder>${begunText(await readCalls(db, cut.begunEventIds), cut.lost)}</system-reminder>`
  const content = input.continuation === null ? await readContent(db, input.event_id) : JSON.parse(input.continuation)
  const continuation = JSON.stringify([{ type: 'text', text: note }, ...blocks.parse(content)])
  await setInput(db, input.event_id, { continuation })
}

async function readContent(db: Db, eventId: string): Promise<unknown> {
  const stored = await db.selectFrom('events').select('body').where('id', '=', eventId).executeTakeFirstOrThrow()
  const event = sessionEvent.parse(JSON.parse(stored.body))
  return event.type === 'user.message' ? toModelContent(event.content) : []
}

function showRescheduled(log: SessionLog, error: SessionError): void {
  log.add({ id: newId('sevt'), type: 'session.error', error: { ...error, retry_status: { type: 'retrying' } } })
  log.turn = { ...freshTurn, retrying: true }
  log.toRescheduling()
}

/** Between turns, or in one that the agent began by itself: nobody waits for an answer. */
async function endWithoutInput(db: Db, log: SessionLog, { error, lost }: Cut): Promise<void> {
  if (log.row.status === 'idle' && log.situation.stopReason?.type !== 'requires_action') {
    // A process that ends is started again and nothing is missing; of a sandbox the files are gone.
    if (lost === 'sandbox') log.add({ id: newId('sevt'), type: 'session.error', error })
    return
  }
  if (await hasQueued(db, log.row.id)) return log.nextTurn()
  log.add({ id: newId('sevt'), type: 'session.error', error: { ...error, retry_status: { type: 'exhausted' } } })
  log.toIdle({ type: 'retries_exhausted' })
}

/** The turn ends with an error; the next input, if there is one, goes on. */
export async function giveUp(db: Db, log: SessionLog, error: SessionError): Promise<void> {
  log.row.failures = 0
  log.add({ id: newId('sevt'), type: 'session.error', error: { ...error, retry_status: { type: 'exhausted' } } })
  await db
    .updateTable('inputs')
    .set({ state: 'done' })
    .where('session_id', '=', log.row.id)
    .where('state', '=', 'delivered')
    .execute()
  if (await hasQueued(db, log.row.id)) log.nextTurn()
  else log.toIdle({ type: 'retries_exhausted' })
}

async function hasQueued(db: Db, sessionId: string): Promise<boolean> {
  const row = await db
    .selectFrom('inputs')
    .select('seq')
    .where('session_id', '=', sessionId)
    .where('state', '=', 'queued')
    .executeTakeFirst()
  return row !== undefined
}

async function setInput(
  db: Db,
  eventId: string,
  change: { uuid?: string; continuation?: string; is_taken?: number; state?: 'queued' },
): Promise<void> {
  await db.updateTable('inputs').set(change).where('event_id', '=', eventId).execute()
}

async function readCalls(db: Db, eventIds: readonly string[]): Promise<OpenCall[]> {
  if (eventIds.length === 0) return []
  const rows = await db.selectFrom('events').select('body').where('id', 'in', eventIds).orderBy('seq').execute()
  return rows.flatMap(({ body }) => {
    const event = sessionEvent.parse(JSON.parse(body))
    return 'name' in event && 'input' in event ? [{ name: event.name, input: event.input }] : []
  })
}
