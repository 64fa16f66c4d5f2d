/** Takes client events into a session: a batch as a whole, or, where one is refused, none of it. */
import { randomUUID } from 'node:crypto'
import type {
  ClientEvent,
  UserCustomToolResultParams,
  UserInterruptParams,
  UserMessageParams,
  UserToolConfirmationParams,
} from '@berth/protocol/api/client-event'
import type { SessionEvent } from '@berth/protocol/api/event'
import { checkInterrupt, checkMessage, checkSupported, pendingCall } from '../domain/acceptance.ts'
import { pendingEventIds } from '../domain/turn/turn-state.ts'
import { newId } from '../domain/ids.ts'
import { abandonCalls, wakeTurn } from './park-turn.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { Db } from './store.ts'

export interface AcceptEventsArgs {
  readonly workspaceId: string
  readonly sessionId: string
  readonly events: readonly ClientEvent[]
  readonly now: string
}

/** `stored` are the events as they were accepted, in the order of the request; what has no effect at the budget is not among them. */
export async function acceptEvents(db: Db, args: AcceptEventsArgs): Promise<Committed & { stored: SessionEvent[] }> {
  const log = await SessionLog.load(db, args)
  const stored: SessionEvent[] = []
  for (const event of args.events) {
    const accepted = await acceptInto(db, log, event)
    if (accepted !== undefined) stored.push(accepted)
  }
  askForTheRest(log)
  return { ...(await log.save()), stored }
}

/** undefined: it has no effect and leaves no trace. */
export async function acceptInto(db: Db, log: SessionLog, event: ClientEvent): Promise<SessionEvent | undefined> {
  checkSupported(event)
  switch (event.type) {
    case 'user.message':
      return acceptMessage(db, log, event)
    case 'user.interrupt':
      return acceptInterrupt(db, log, event)
    case 'user.tool_confirmation':
      return acceptConfirmation(db, log, event)
    case 'user.custom_tool_result':
      return acceptCustomResult(db, log, event)
    case 'user.tool_result':
    case 'user.define_outcome':
    case 'system.message':
      throw new TypeError(`${event.type} was let through`)
    default:
      return event satisfies never
  }
}

async function acceptMessage(db: Db, log: SessionLog, params: UserMessageParams): Promise<SessionEvent> {
  checkMessage(log.situation)
  const event: SessionEvent = { ...params, id: newId('sevt'), processed_at: null }
  const seq = log.addQueued(event)
  const input = {
    session_id: log.row.id,
    seq,
    event_id: event.id,
    uuid: randomUUID(),
    continuation: null,
    is_taken: 0,
    state: 'queued' as const,
  }
  await db.insertInto('inputs').values(input).execute()
  if (log.row.status === 'idle') log.toRunning()
  return event
}

async function acceptInterrupt(
  db: Db,
  log: SessionLog,
  params: UserInterruptParams,
): Promise<SessionEvent | undefined> {
  const { situation } = log
  checkInterrupt(situation, params.session_thread_id ?? null, log.row.thread_id)
  if (situation.status === 'idle' && log.turn.paused !== null) return undefined
  const event: SessionEvent = { ...params, id: newId('sevt'), processed_at: null }
  log.addQueued(event)
  await log.process(event.id)
  if (situation.status === 'idle' && situation.stopReason?.type !== 'requires_action') return event
  if (log.turn.parked !== null) {
    await abandonCalls(db, log, { type: 'end_turn' })
    return event
  }
  const inputs = await db
    .selectFrom('inputs')
    .selectAll()
    .where('session_id', '=', log.row.id)
    .where('state', '!=', 'done')
    .orderBy('seq')
    .execute()
  const [head, ...waiting] = inputs
  if (head?.state === 'queued') {
    // The turn has not reached the agent yet: it ends here, before it began.
    await log.process(head.event_id)
    await db.updateTable('inputs').set({ state: 'done' }).where('event_id', '=', head.event_id).execute()
    if (waiting.length === 0) log.toIdle({ type: 'end_turn' })
    return event
  }
  log.turn = { ...log.turn, interrupted: true }
  log.command({ type: 'interrupt' })
  log.toRunning()
  return event
}

async function acceptConfirmation(db: Db, log: SessionLog, params: UserToolConfirmationParams): Promise<SessionEvent> {
  const [toolUseId, call] = pendingCall(log.situation, 'confirmed', params.tool_use_id)
  const event: SessionEvent = { ...params, id: newId('sevt'), processed_at: null }
  Object.assign(call, { answer: params.result, answerEventId: event.id })
  if (log.turn.parked === null) {
    const message = params.deny_message ?? null
    log.command({ type: 'verdict', tool_use_id: toolUseId, behavior: params.result, message })
  }
  log.addQueued(event)
  await log.process(event.id)
  await goOn(db, log)
  return event
}

async function acceptCustomResult(db: Db, log: SessionLog, params: UserCustomToolResultParams): Promise<SessionEvent> {
  const event: SessionEvent = { ...params, id: newId('sevt'), processed_at: log.now }
  if (await isSettledCall(db, log, params.custom_tool_use_id)) {
    log.add(event)
    return event
  }
  const [toolUseId, call] = pendingCall(log.situation, 'custom', params.custom_tool_use_id)
  Object.assign(call, { answer: 'result', answerEventId: event.id })
  if (log.turn.parked === null) {
    const content = (params.content ?? []).map((block) => ({ ...block }))
    log.command({ type: 'custom_result', tool_use_id: toolUseId, content, is_error: params.is_error ?? false })
  }
  log.add(event)
  await goOn(db, log)
  return event
}

/** A result that comes twice is taken without effect. */
async function isSettledCall(db: Db, log: SessionLog, eventId: string): Promise<boolean> {
  const open = Object.values(log.turn.calls).find((call) => call.eventId === eventId)
  if (open !== undefined) return open.kind === 'custom' && open.answer !== null
  if (log.row.status === 'terminated') return false
  const shown = await db
    .selectFrom('events')
    .select('type')
    .where('session_id', '=', log.row.id)
    .where('id', '=', eventId)
    .executeTakeFirst()
  return shown?.type === 'agent.custom_tool_use'
}

/** With the last answer the turn goes on. */
async function goOn(db: Db, log: SessionLog): Promise<void> {
  if (log.row.status !== 'idle' || pendingEventIds(log.turn).length > 0) return
  if (log.turn.parked === null) log.toRunning()
  else await wakeTurn(db, log)
}

/** After a batch that answered a part of what was asked for: what is left is asked for again, once. */
function askForTheRest(log: SessionLog): void {
  const { status, stopReason, turn } = log.situation
  if (status !== 'idle' || stopReason?.type !== 'requires_action') return
  const rest = pendingEventIds(turn)
  if (rest.length < stopReason.event_ids.length) log.toIdle({ type: 'requires_action', event_ids: rest })
}
