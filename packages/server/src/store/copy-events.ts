/** The log of a session, up to a place, as the beginning of another's. */
import { sessionEvent, type SessionEvent } from '@berth/protocol/api/event'
import { newId } from '../domain/ids.ts'
import type { SessionRow } from './session-log.ts'
import type { Db } from './store.ts'

const PAGE = 500

/** Events get ids of their own; what names one of them follows. Answers the last sequence number. */
export async function copyEvents(
  db: Db,
  { from, to, place }: { from: SessionRow; to: SessionRow; place: number },
): Promise<number> {
  const ids = new Map<string, string>([[from.thread_id, to.thread_id]])
  let seq = 0
  for (let after = 0; ;) {
    const page = await db
      .selectFrom('events')
      .selectAll()
      .where('session_id', '=', from.id)
      .where('place', '>', after)
      .where('place', '<=', place)
      .orderBy('place')
      .limit(PAGE)
      .execute()
    const last = page.at(-1)
    if (last === undefined) return seq
    after = last.place ?? place
    const copies = page.map((row) => {
      seq += 1
      const event = renamed(sessionEvent.parse(JSON.parse(row.body)), ids)
      return { ...row, session_id: to.id, seq, place: seq, id: event.id, body: JSON.stringify(event) }
    })
    await db.insertInto('events').values(copies).execute()
  }
}

/** Fields by which an event names another, or its thread. */
const NAMING = ['tool_use_id', 'custom_tool_use_id', 'mcp_tool_use_id', 'model_request_start_id', 'session_thread_id']

function renamed(event: SessionEvent, ids: Map<string, string>): SessionEvent {
  const id = newId('sevt')
  ids.set(event.id, id)
  const copy: Record<string, unknown> = { ...event, id }
  for (const field of NAMING) {
    const named = copy[field]
    if (typeof named === 'string') copy[field] = ids.get(named) ?? named
  }
  return sessionEvent.parse(withReason(copy, ids))
}

/** The calls that a session waited for are named in the reason why it stopped. */
function withReason(event: Record<string, unknown>, ids: ReadonlyMap<string, string>): Record<string, unknown> {
  const reason = event['stop_reason']
  if (typeof reason !== 'object' || reason === null || !('event_ids' in reason)) return event
  const { event_ids } = reason
  if (!Array.isArray(event_ids)) return event
  const renamed = event_ids.map((id: unknown) => (typeof id === 'string' ? (ids.get(id) ?? id) : id))
  return { ...event, stop_reason: { ...reason, event_ids: renamed } }
}
