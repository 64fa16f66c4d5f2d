/** Applies a recovery plan to a session whose turn was cut. */
import { environmentConfig } from '@berth/protocol/api/environment'
import { type SessionError, sessionEvent, type StopReason } from '@berth/protocol/api/event'
import { z } from 'zod'
import { newId } from '../domain/ids.ts'
import { toModelContent } from '../domain/model-content.ts'
import {
  begunText,
  continuationText,
  type Loss,
  type Lost,
  type OpenCall,
  planRecovery,
  withLoss,
} from '../domain/turn/recovery.ts'
import { freshTurn } from '../domain/turn/turn-state.ts'
import type { FilesState } from './files-state.ts'
import type { SessionLog } from './session-log.ts'
import type { Db } from './store.ts'
import { cutTranscript, hasAnswer, holdsConversation, restore } from './transcripts.ts'

const blocks = z.array(z.looseObject({ type: z.string(), text: z.string().optional() }))

export interface Cut {
  readonly lost: Lost
  /** Of a lost sandbox: what the next one has of them. */
  readonly files?: FilesState
  /** This loss has cut the turn before, and more of it has shown since. */
  readonly isCounted?: boolean
  readonly error: SessionError
  /** Events of the calls that had begun and have no result. */
  readonly begunEventIds: readonly string[]
  readonly unsaid: readonly string[]
}

/** Leaves the session rescheduling, with an input that can be handed over; or, where there is no point in going on, with the turn ended. */
export async function recoverTurn(db: Db, log: SessionLog, cut: Cut): Promise<void> {
  const { interrupted, failure } = log.turn
  log.turn = freshTurn
  // What the CLI left is not to be taken up: the next one begins a conversation.
  if (log.row.has_transcript === 0) log.row.opened = null
  const inside = await db
    .selectFrom('inputs')
    .selectAll()
    .where('session_id', '=', log.row.id)
    .where('state', '=', 'delivered')
    .executeTakeFirst()
  if (inside === undefined) return endWithoutInput(db, log, cut)
  await sayWhatIsKept(db, log, { uuid: inside.uuid, unsaid: cut.unsaid })
  if (interrupted) return endInterrupted(db, log, { ...cut, isFailed: failure !== null })
  if (cut.isCounted !== true) log.row.failures += 1
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
      await tellAgain(db, inside, cut)
      // The sandbox's own transcript may have the input that the shipped one has not.
      if (cut.lost === 'sandbox_processes') log.row.needs_restore = restore.cutBack
      break
    case 'rerun':
      await cutTranscript(db, { sessionId: log.row.id, uuid: inside.uuid })
      await setInput(db, inside.event_id, { is_taken: 0 })
      log.row.needs_restore = restore.cutBack
      log.row.opened = null
      // Of a first turn nothing is left to resume.
      if (!(await holdsConversation(db, { sessionId: log.row.id }))) log.row.has_transcript = 0
      break
    case 'continue': {
      const text = continuationText(await readCalls(db, cut.begunEventIds), lossOf(cut))
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

/**
 * An input that goes to the agent again. A continuation that was not taken yet tells what has gone since; and what was begun for the input
 * is told with it, for the agent does not know of it.
 */
async function tellAgain(
  db: Db,
  input: { readonly event_id: string; readonly continuation: string | null },
  cut: Cut,
): Promise<void> {
  const { begunEventIds } = cut
  const loss = lossOf(cut)
  const untaken = input.continuation === null ? [] : blocks.parse(JSON.parse(input.continuation))
  const told = untaken.map((block) =>
    block.text === undefined ? block : { ...block, text: withLoss(block.text, loss) },
  )
  if (begunEventIds.length > 0) {
    const text = `<system-reminder>${begunText(await readCalls(db, begunEventIds), loss)}</system-reminder>`
    if (told.length === 0) told.push(...blocks.parse(await readContent(db, input.event_id)))
    told.unshift({ type: 'text', text })
  }
  if (told.length > 0) await setInput(db, input.event_id, { continuation: JSON.stringify(told) })
}

function lossOf({ lost, files }: Cut): Loss {
  return { lost, filesAsOf: files?.type === 'older' ? files.asOf : null }
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
async function endWithoutInput(db: Db, log: SessionLog, { error, lost, files }: Cut): Promise<void> {
  if (log.row.status === 'idle' && log.situation.stopReason?.type !== 'requires_action') {
    // A process that ends is started again and nothing is missing; of a sandbox the files may be gone.
    if (lost === 'sandbox' && files?.type !== 'kept') log.add({ id: newId('sevt'), type: 'session.error', error })
    return
  }
  if (await hasQueued(db, log.row.id)) return log.nextTurn()
  log.add({ id: newId('sevt'), type: 'session.error', error: { ...error, retry_status: { type: 'exhausted' } } })
  log.toIdle({ type: 'retries_exhausted' })
}

/** What the agent remembers to have said it will not say again: it is said here. */
async function sayWhatIsKept(
  db: Db,
  log: SessionLog,
  { uuid, unsaid }: { uuid: string; unsaid: readonly string[] },
): Promise<void> {
  const last = unsaid.at(-1)
  if (last === undefined || !(await hasAnswer(db, { sessionId: log.row.id, uuid, text: last }))) return
  const content = unsaid.map((text) => ({ type: 'text' as const, text }))
  log.add({ id: newId('sevt'), type: 'agent.message', content })
}

/** The client, or a limit that was told, wanted the turn to end, and it has ended. Of a sandbox files may be gone, which is told. */
async function endInterrupted(db: Db, log: SessionLog, cut: Cut & { readonly isFailed: boolean }): Promise<void> {
  const { error, lost, files, isFailed } = cut
  const told = { ...error, retry_status: { type: 'exhausted' as const } }
  if (lost === 'sandbox' && files?.type !== 'kept') log.add({ id: newId('sevt'), type: 'session.error', error: told })
  await endInput(db, log, { type: isFailed ? 'retries_exhausted' : 'end_turn' })
}

/** The turn ends with an error; the next input, if there is one, goes on. */
async function giveUp(db: Db, log: SessionLog, error: SessionError): Promise<void> {
  log.add({ id: newId('sevt'), type: 'session.error', error: { ...error, retry_status: { type: 'exhausted' } } })
  await endInput(db, log, { type: 'retries_exhausted' })
}

async function endInput(db: Db, log: SessionLog, reason: StopReason): Promise<void> {
  log.row.failures = 0
  const ended = await db
    .updateTable('inputs')
    .set({ state: 'done' })
    .where('session_id', '=', log.row.id)
    .where('state', '=', 'delivered')
    .returning('event_id')
    .execute()
  // One that no sandbox could be made for was never handed over: it takes its place with its end.
  for (const { event_id } of ended) await log.process(event_id)
  if (await hasQueued(db, log.row.id)) log.nextTurn()
  else log.toIdle(reason)
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
