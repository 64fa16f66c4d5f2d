/**
 * A session being written to, within one transaction: the only way to append to its log. Holds the row, gathers what is appended, and
 * writes both at `save`. Sequence numbers have no gaps because they are given out here and committed together with the row.
 */
import type { Selectable } from 'kysely'
import type { Command } from '@berth/protocol'
import { BerthError } from '@berth/protocol'
import {
  sessionEvent,
  type SessionEvent,
  stopReason,
  type StopDetails,
  type StopReason,
} from '@berth/protocol/api/event'
import type { ResultBlock } from '@berth/protocol/api/content'
import { newId } from '../domain/ids.ts'
import { isBudgetReached, parseBudget } from '../domain/budget.ts'
import type { SessionSituation } from '../domain/acceptance.ts'
import type { EventDraft } from '../domain/turn/turn-log.ts'
import { resultEvent } from '../domain/turn/tool-calls.ts'
import { type Call, parseTurn, type TurnState } from '../domain/turn/turn-state.ts'
import { parseModels, toWireUsage } from '../domain/usage.ts'
import { parseSessionAgent } from '../domain/session.ts'
import type { Database } from './schema.ts'
import { assertEpoch } from './assert-epoch.ts'
import type { Db } from './store.ts'
import { listTranscriptSizes } from './transcripts.ts'

export type SessionRow = Selectable<Database['sessions']>

/** What a commit changed: events in the order in which clients see them (an input that was processed is there again), new commands. */
export interface Committed {
  readonly row: SessionRow
  readonly events: readonly SessionEvent[]
  readonly commands: readonly { readonly seq: number; readonly body: Command }[]
  /** A result that is told again: what came of it was published when it happened, and the row is as it was then. */
  readonly isRepeat?: true
}

export class SessionLog {
  readonly row: SessionRow
  turn: TurnState
  readonly #db: Db
  readonly now: string
  readonly #events: SessionEvent[] = []
  readonly #fresh: Database['events'][] = []
  readonly #commands: { seq: number; body: Command }[] = []

  constructor(db: Db, row: SessionRow, now: string) {
    this.#db = db
    this.row = row
    this.now = now
    this.turn = parseTurn(row.turn)
  }

  /**
   * `not_found` unless it exists (in that workspace, where one is named); `conflict` when the caller acts under a lease (`epoch`) that has
   * passed to another.
   */
  static async load(
    db: Db,
    args: { sessionId: string; workspaceId?: string; epoch?: number; now: string },
  ): Promise<SessionLog> {
    let query = db.selectFrom('sessions').selectAll().where('id', '=', args.sessionId)
    if (args.workspaceId !== undefined) query = query.where('workspace_id', '=', args.workspaceId)
    const row = await query.executeTakeFirst()
    if (row === undefined) throw new BerthError('not_found', `no session ${args.sessionId}`)
    if (args.epoch !== undefined) await assertEpoch(db, row, args.epoch)
    return new SessionLog(db, row, args.now)
  }

  get situation(): SessionSituation {
    const reason = this.row.stop_reason
    return {
      status: this.row.status,
      stopReason: reason === null ? null : stopReason.parse(JSON.parse(reason)),
      turn: this.turn,
      isBudgetReached: isBudgetReached(this.row, new Date(this.now)),
    }
  }

  add(draft: EventDraft): void {
    this.#append({ ...draft, processed_at: this.now })
  }

  /** The result of a call that is not the client's, or that ends without the client. */
  addResult(call: Call, content: string | ResultBlock[], isError: boolean): void {
    const blocks = typeof content === 'string' ? [{ type: 'text' as const, text: content }] : content
    this.add({ ...resultEvent(call, blocks, isError), id: newId('sevt') })
  }

  /** A client's event that waits: it has no place in the list yet. */
  addQueued(event: SessionEvent): number {
    return this.#append(event)
  }

  /** A waiting input takes its place: it is published again, with its time. One that has its place (it was handed over before) keeps it. */
  async process(eventId: string): Promise<void> {
    const stored =
      this.#fresh.find((row) => row.id === eventId) ??
      (await this.#db.selectFrom('events').selectAll().where('id', '=', eventId).executeTakeFirstOrThrow())
    if (stored.place !== null) return
    const place = this.#nextSeq()
    const event = sessionEvent.parse({ ...JSON.parse(stored.body), processed_at: this.now })
    const change = { place, processed_at: this.now, body: JSON.stringify(event) }
    if (this.#fresh.includes(stored)) Object.assign(stored, change)
    else await this.#db.updateTable('events').set(change).where('id', '=', eventId).execute()
    this.#events.push(event)
  }

  toRunning(): void {
    if (this.row.status === 'running') return
    this.row.status = 'running'
    this.row.stop_reason = null
    this.row.active_since ??= this.now
    this.row.idle_since = null
    this.#endRetrying()
    this.add({ id: newId('sevt'), type: 'session.status_running' })
    this.add({ id: newId('sevt'), type: 'session.thread_status_running', ...this.#thread() })
  }

  /** The turn is over and the next one follows without an idle between them. */
  nextTurn(): void {
    this.#stopClock()
    this.row.active_since = this.now
    this.toRunning()
  }

  toRescheduling(): void {
    if (this.row.status === 'rescheduling') return
    this.row.status = 'rescheduling'
    this.row.stop_reason = null
    this.row.active_since ??= this.now
    this.row.idle_since = null
    this.add({ id: newId('sevt'), type: 'session.status_rescheduled' })
    this.add({ id: newId('sevt'), type: 'session.thread_status_rescheduled', ...this.#thread() })
  }

  toIdle(reason: StopReason, details: StopDetails | null = null): void {
    this.#stopClock()
    this.#endRetrying()
    this.row.status = 'idle'
    this.row.idle_since = this.now
    this.row.stop_reason = JSON.stringify(reason)
    const idle = { stop_reason: reason, stop_details: details }
    this.add({ id: newId('sevt'), type: 'session.thread_status_idle', ...this.#thread(), ...idle })
    const usage = toWireUsage(parseModels(this.row.usage), this.row.active_ms)
    this.add({ id: newId('sevt'), type: 'session.usage', usage, budget: parseBudget(this.row.budget) })
    this.add({ id: newId('sevt'), type: 'session.status_idle', ...idle })
  }

  toTerminated(): void {
    this.#stopClock()
    this.row.status = 'terminated'
    this.row.stop_reason = null
    this.add({ id: newId('sevt'), type: 'session.thread_status_terminated', ...this.#thread() })
    this.add({ id: newId('sevt'), type: 'session.status_terminated' })
  }

  /** Puts a command into the outbox of the session's present sandbox. */
  command(body: Command): void {
    this.row.link_sent += 1
    this.#commands.push({ seq: this.row.link_sent, body })
  }

  async save(): Promise<Committed> {
    const { row } = this
    row.turn = JSON.stringify(this.turn)
    // What clients cannot see, such as a piece of the transcript, is no update to them.
    if (this.#events.length > 0) row.updated_at = this.now
    const session_id = row.id
    await this.#noteTranscripts()
    if (this.#fresh.length > 0) await this.#db.insertInto('events').values(this.#fresh).execute()
    if (this.#commands.length > 0) {
      const rows = this.#commands.map(({ seq, body }) => ({ session_id, seq, body: JSON.stringify(body) }))
      await this.#db.insertInto('outbox').values(rows).execute()
    }
    const { ord, ...columns } = row
    await this.#db.updateTable('sessions').set(columns).where('ord', '=', ord).execute()
    return { row, events: this.#events, commands: this.#commands }
  }

  /** Where the conversation stands when the session comes to rest: a fork may begin there. */
  async #noteTranscripts(): Promise<void> {
    const idle = this.#fresh.findLast(({ type }) => type === 'session.status_idle')
    if (idle === undefined) return
    idle.transcripts = JSON.stringify(await listTranscriptSizes(this.#db, { sessionId: this.row.id }))
  }

  #append(event: SessionEvent): number {
    const seq = this.#nextSeq()
    this.#events.push(event)
    this.#fresh.push({
      session_id: this.row.id,
      seq,
      id: event.id,
      type: event.type,
      body: JSON.stringify(event),
      processed_at: event.processed_at,
      place: event.processed_at === null ? null : seq,
      transcripts: null,
    })
    return seq
  }

  #nextSeq(): number {
    this.row.last_seq += 1
    return this.row.last_seq
  }

  /** The turn is shown as rescheduled no more: its next sign of life is no news. */
  #endRetrying(): void {
    if (this.turn.retrying) this.turn = { ...this.turn, retrying: false }
  }

  #stopClock(): void {
    if (this.row.active_since === null) return
    this.row.active_ms += Math.max(0, Date.parse(this.now) - Date.parse(this.row.active_since))
    this.row.active_since = null
  }

  #thread(): { session_thread_id: string; agent_name: string } {
    return { session_thread_id: this.row.thread_id, agent_name: parseSessionAgent(this.row.agent).name }
  }
}
