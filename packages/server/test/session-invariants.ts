/** What holds of every session at every moment, whatever has happened to it; read from the file itself. */
import type { DatabaseSync } from 'node:sqlite'
import { sessionEvent, stopReason } from '@berth/protocol/api/event'
import { z } from 'zod'
import { parseTurn, pendingEventIds } from '../src/domain/turn/turn-state.ts'

const eventRow = z.object({
  seq: z.int(),
  id: z.string(),
  type: z.string(),
  body: z.string(),
  processed_at: z.string().nullable(),
  place: z.int().nullable(),
})
const inputRow = z.object({
  seq: z.int(),
  event_id: z.string(),
  state: z.enum(['queued', 'delivered', 'done']),
})
const sessionRow = z.object({
  status: z.enum(['idle', 'running', 'rescheduling', 'terminated']),
  stop_reason: z.string().nullable(),
  last_seq: z.int(),
  link_sent: z.int(),
  has_transcript: z.int(),
  turn: z.string(),
})
type EventRow = z.infer<typeof eventRow>
type SessionRow = z.infer<typeof sessionRow>

export class Invariants {
  readonly #raw: DatabaseSync
  readonly #sessionId: string
  /** Events as they were seen first, by place. */
  readonly #seen = new Map<number, string>()
  readonly #done = new Set<string>()

  constructor(raw: DatabaseSync, sessionId: string) {
    this.#raw = raw
    this.#sessionId = sessionId
  }

  /** What does not hold; empty when all is well. Looks at one moment, whatever is written meanwhile. */
  check(): string[] {
    this.#raw.exec('BEGIN')
    try {
      return this.#check()
    } finally {
      this.#raw.exec('COMMIT')
    }
  }

  #check(): string[] {
    const session = sessionRow.parse(this.#raw.prepare('SELECT * FROM sessions WHERE id = ?').get(this.#sessionId))
    const events = z.array(eventRow).parse(this.#all('events'))
    const listed = events.filter(({ place }) => place !== null).sort((a, b) => (a.place ?? 0) - (b.place ?? 0))
    return [
      ...numbers(session, events),
      ...this.#unchanged(listed),
      ...statuses(session, listed),
      ...usageBeforeIdle(listed),
      ...pending(session, listed),
      ...this.#inputs(session, events),
      ...this.#commands(session),
      ...this.#conversation(session),
    ]
  }

  #all(table: 'events' | 'inputs' | 'outbox'): unknown[] {
    return this.#raw.prepare(`SELECT * FROM ${table} WHERE session_id = ? ORDER BY seq`).all(this.#sessionId)
  }

  /** What stood in the list stands there, as it was, and nothing came in between. */
  #unchanged(listed: readonly EventRow[]): string[] {
    const faults: string[] = []
    const highest = Math.max(0, ...this.#seen.keys())
    const present = new Map(listed.map(({ place, body }) => [place ?? 0, body]))
    for (const [place, body] of this.#seen) if (present.get(place) !== body) faults.push(`event ${place} changed`)
    for (const [place, body] of present) {
      if (!this.#seen.has(place) && place < highest) faults.push(`event ${place} came behind ${highest}`)
      this.#seen.set(place, body)
    }
    return faults
  }

  #inputs(session: SessionRow, events: readonly EventRow[]): string[] {
    const inputs = z.array(inputRow).parse(this.#all('inputs'))
    const faults: string[] = []
    const processed = new Map(events.map(({ id, processed_at }) => [id, processed_at !== null]))
    for (const { event_id, state } of inputs) {
      if (state !== 'queued' && processed.get(event_id) !== true)
        faults.push(`input ${event_id} is ${state} without a place`)
      if (state !== 'done' && this.#done.has(event_id)) faults.push(`input ${event_id} is ${state} again`)
      if (state === 'done') this.#done.add(event_id)
    }
    if (inputs.filter(({ state }) => state === 'delivered').length > 1) faults.push('two inputs are inside')
    const open = inputs.filter(({ state }) => state !== 'done')
    const head = inputs.findIndex(({ state }) => state !== 'done')
    if (inputs.slice(Math.max(head, 0)).length > open.length && head !== -1) faults.push('an input was passed over')
    if (session.status === 'idle' && !asks(session) && open.length > 0) faults.push('idle with an input that waits')
    if (inputs.length !== events.filter(({ type }) => type === 'user.message').length)
      faults.push('an input is missing')
    return faults
  }

  /** What a CLI is told to resume has a line that it can go on from. */
  #conversation(session: SessionRow): string[] {
    if (session.has_transcript === 0) return []
    const rows = this.#raw.prepare('SELECT text FROM transcripts WHERE session_id = ?').all(this.#sessionId)
    const holds = rows.some(({ text }) => /"type":"(?:user|assistant)"/.test(String(text)))
    return holds ? [] : ['there is no conversation to resume']
  }

  #commands(session: SessionRow): string[] {
    const numbers = z
      .array(z.object({ seq: z.int() }))
      .parse(this.#all('outbox'))
      .map(({ seq }) => seq)
    const first = session.link_sent - numbers.length + 1
    return numbers.every((seq, index) => seq === first + index)
      ? []
      : [`commands ${numbers.join()} of ${session.link_sent}`]
  }
}

function asks(session: SessionRow): boolean {
  return session.stop_reason?.includes('requires_action') === true
}

/** Every number from 1 to the last is used once: as a sequence number, or as the place of an input that waited. */
function numbers(session: SessionRow, events: readonly EventRow[]): string[] {
  const used = events.flatMap(({ seq, place }) => (place === null || place === seq ? [seq] : [seq, place]))
  used.sort((a, b) => a - b)
  const isContiguous = used.length === session.last_seq && used.every((number, index) => number === index + 1)
  return isContiguous ? [] : [`numbers ${used.join()} of ${session.last_seq}`]
}

const shows = {
  'session.status_idle': 'idle',
  'session.status_running': 'running',
  'session.status_rescheduled': 'rescheduling',
  'session.status_terminated': 'terminated',
} as const

function statusOf(type: string): SessionRow['status'] | undefined {
  return Object.entries(shows).find(([name]) => name === type)?.[1]
}

/** The events tell the status: each a change (idle may ask anew), none after the end, the last one what the session is. */
function statuses(session: SessionRow, listed: readonly EventRow[]): string[] {
  const faults: string[] = []
  let at: SessionRow['status'] = 'idle'
  for (const { type, place } of listed) {
    const next = statusOf(type)
    if (next === undefined) continue
    if (at === 'terminated' || (next === at && next !== 'idle')) faults.push(`${at} → ${next} at ${place}`)
    if (at === 'idle' && next === 'idle' && !faults.length && place === 1) faults.push('idle from the start')
    at = next
  }
  if (parseTurn(session.turn).retrying !== (at === 'rescheduling')) faults.push(`${at}, and the turn says otherwise`)
  if (at !== session.status) faults.push(`the log says ${at}, the session ${session.status}`)
  return faults
}

function usageBeforeIdle(listed: readonly EventRow[]): string[] {
  return listed.flatMap(({ type, place }, index) =>
    type === 'session.status_idle' && listed[index - 1]?.type !== 'session.usage'
      ? [`idle at ${place} without usage`]
      : [],
  )
}

/** The session asks for exactly what waits for an answer, and says so in its row and in its last idle. */
function pending(session: SessionRow, listed: readonly EventRow[]): string[] {
  if (session.status !== 'idle' || session.stop_reason === null) return []
  const reason = stopReason.parse(JSON.parse(session.stop_reason))
  const last = listed.findLast(({ type }) => type === 'session.status_idle')
  const shown = last === undefined ? undefined : sessionEvent.parse(JSON.parse(last.body))
  const faults: string[] = []
  if (shown?.type === 'session.status_idle' && JSON.stringify(shown.stop_reason) !== JSON.stringify(reason)) {
    faults.push('the row and the log name different reasons')
  }
  const waiting = pendingEventIds(parseTurn(session.turn))
  if (reason.type === 'requires_action' && reason.event_ids.join() !== waiting.join()) {
    faults.push(`asks for ${reason.event_ids.join()}, waiting are ${waiting.join()}`)
  }
  return faults
}
