/** The pen with which a translation writes: the turn it changes and the events it has drafted so far. */
import type { SessionError, SessionEvent } from '@berth/protocol/api/event'
import type { Stopped } from '@berth/protocol'
import type { AgentTools } from '../toolset.ts'
import type { TurnState } from './turn-state.ts'

type WithoutTime<Event> = Event extends unknown ? Omit<Event, 'processed_at'> : never
/** An event before its commit gives it a time. */
export type EventDraft = WithoutTime<SessionEvent>
type WithoutId<Event> = Event extends unknown ? Omit<Event, 'id'> : never
export type NewEvent = WithoutId<EventDraft>

export interface TurnContext {
  readonly threadId: string
  readonly agentName: string
  readonly tools: AgentTools
  readonly newEventId: () => string
  /** Why the gateway refuses the session's model requests; null: it does not. */
  readonly stopped: Stopped | null
  /** Id under which a message is being previewed to clients, by `previewKey`. */
  readonly previews: Readonly<Record<string, string>>
}

export interface TurnCut {
  readonly error: SessionError
  /** Events of the calls that had begun and have no result. */
  readonly begunEventIds: readonly string[]
  /** What the answer that was cut had said, of which no event tells yet. */
  readonly unsaid: readonly string[]
}

/** Names the n-th `agent.message` (or `agent.thinking`) of one model answer, from 0. */
export function previewKey(kind: 'agent.message' | 'agent.thinking', messageId: string, n: number): string {
  return `${kind} ${messageId} ${n}`
}

export class TurnLog {
  readonly turn: TurnState
  readonly context: TurnContext
  readonly events: EventDraft[] = []
  /** The CLI has begun to work, on an input or by itself (a background task that ended). */
  isActive = false
  /** The CLI is idle: what follows is another turn. */
  isOver = false
  /** The CLI is gone. */
  cut: TurnCut | undefined

  constructor(turn: TurnState, context: TurnContext) {
    this.turn = turn
    this.context = context
  }

  add(event: NewEvent, id: string = this.context.newEventId()): string {
    this.events.push({ ...event, id })
    return id
  }

  thread(): { session_thread_id: string; agent_name: string } {
    return { session_thread_id: this.context.threadId, agent_name: this.context.agentName }
  }

  showRunning(): void {
    this.add({ type: 'session.status_running' })
    this.add({ type: 'session.thread_status_running', ...this.thread() })
  }

  /** The request that was being repeated goes on. */
  endRetrying(): void {
    if (!this.turn.retrying) return
    this.turn.retrying = false
    this.showRunning()
  }

  /** The text gathered so far becomes one `agent.message`. */
  flushText(): void {
    const { request } = this.turn
    if (request === null || request.texts.length === 0) return
    const key = previewKey('agent.message', request.messageId, request.messages)
    const content = request.texts.map((text) => ({ type: 'text' as const, text }))
    this.add({ type: 'agent.message', content }, this.context.previews[key])
    request.texts = []
    request.messages += 1
  }

  /** The agent goes on behind an answer that was cut: what that had said is a message. */
  showCut(): void {
    const content = (this.turn.cut ?? []).map((text) => ({ type: 'text' as const, text }))
    this.turn.cut = null
    if (content.length > 0) this.add({ type: 'agent.message', content })
  }

  showThinking(): void {
    const { request } = this.turn
    const key = request === null ? '' : previewKey('agent.thinking', request.messageId, request.thoughts)
    this.add({ type: 'agent.thinking' }, this.context.previews[key])
    if (request !== null) request.thoughts += 1
  }

  /** A model request has failed. One that was refused by a limit is no failure: the turn rests. */
  failRequest(failure: NonNullable<TurnState['failure']>): void {
    if (this.context.stopped === null) this.fail(failure)
    else if (this.turn.failure === null) this.turn.paused = this.context.stopped
  }

  fail(failure: NonNullable<TurnState['failure']>): void {
    if (this.turn.failure !== null) return
    this.turn.failure = failure
    this.add({ type: 'session.error', error: failure })
  }
}
