/**
 * From what a runner reports to what clients see. Pure: the same turn and report give the same events (ids apart), so that the store can
 * do it in the transaction that commits both.
 */
import type { Report } from '@berth/protocol'
import type { SessionError } from '@berth/protocol/api/event'
import { sessionFailure } from './failure.ts'
import { beginCall, closeOpenCalls, reachCall } from './tool-calls.ts'
import { translateMessage } from './translate-message.ts'
import { outcome } from './held-calls.ts'
import { failRemote } from './mcp-failure.ts'
import { type EventDraft, type TurnContext, type TurnCut, TurnLog } from './turn-log.ts'
import { hasBegun, type TurnState } from './turn-state.ts'

export interface Translation {
  readonly turn: TurnState
  readonly events: readonly EventDraft[]
  readonly isActive: boolean
  readonly isOver: boolean
  readonly cut: TurnCut | undefined
}

export function translate(turn: TurnState, report: Report, context: TurnContext): Translation {
  const log = new TurnLog(structuredClone(turn), context)
  write(log, report)
  return { turn: log.turn, events: log.events, isActive: log.isActive, isOver: log.isOver, cut: log.cut }
}

function write(log: TurnLog, report: Report): void {
  switch (report.type) {
    case 'message':
      return translateMessage(log, report.message)
    case 'model_request':
      return report.phase === 'start' ? startRequest(log, report.message_id) : endRequest(log, report)
    case 'tool_call':
      return reachCall(log, report)
    case 'call_begins':
      return beginCall(log, report.tool_use_id)
    case 'exited':
      return exited(log, report)
    case 'refused':
      log.fail(sessionFailure('unknown_error', report.detail, 'exhausted'))
      log.isOver = report.command === 'input'
      return
    case 'mcp_failure':
      return failRemote(log, report)
    case 'transcript':
    case 'seen_tools':
    case 'started':
      return
    default:
      return report satisfies never
  }
}

function startRequest(log: TurnLog, messageId: string): void {
  log.endRetrying()
  // A request that was cut without notice ends here at the latest.
  if (log.turn.request !== null) endRequest(log, { usage: null })
  log.showCut()
  const startEventId = log.add({ type: 'span.model_request_start' })
  log.turn.request = { messageId, startEventId, messages: 0, thoughts: 0, texts: [] }
}

function endRequest(log: TurnLog, report: Pick<Extract<Report, { type: 'model_request' }>, 'usage'>): void {
  const { request } = log.turn
  if (request === null) return
  // Whether what a cut request had said by then is a message is seen by what comes next; this end closes its preview.
  if (report.usage === null) log.turn.cut = request.texts
  else log.flushText()
  log.turn.request = null
  log.add({
    type: 'span.model_request_end',
    model_request_start_id: request.startEventId,
    is_error: report.usage === null,
    model_usage: {
      input_tokens: count(report.usage, 'input_tokens'),
      output_tokens: count(report.usage, 'output_tokens'),
      cache_read_input_tokens: count(report.usage, 'cache_read_input_tokens'),
      cache_creation_input_tokens: count(report.usage, 'cache_creation_input_tokens'),
    },
  })
}

function count(usage: Readonly<Record<string, unknown>> | null, key: string): number {
  const value = usage?.[key]
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : 0
}

function exited(log: TurnLog, report: Extract<Report, { type: 'exited' }>): void {
  if (report.reason === 'closed') return
  const how = report.signal ?? (report.exit_code === null ? 'unknown reasons' : `exit code ${report.exit_code}`)
  const what = report.reason === 'start_failed' ? 'the agent process could not start' : 'the agent process ended'
  cutTurn(log, `${what} (${how}): ${report.detail}`)
}

/** What clients are told of a loss after which the session goes on. */
export function lossOf(why: string): SessionError {
  return sessionFailure('unknown_error', why.slice(0, 2_000), 'retrying')
}

/** Closes what is open. Also for a sandbox that is gone, of which no report tells. */
export function cutTurn(log: TurnLog, why: string): void {
  endRequest(log, { usage: null })
  log.cut = {
    error: lossOf(why),
    unsaid: log.turn.cut ?? [],
    begunEventIds: Object.values(log.turn.calls).flatMap((call) => (hasBegun(call) ? [call.eventId] : [])),
  }
  closeOpenCalls(log, (call) => (hasBegun(call) ? outcome.unknown : outcome.didNotRun))
}
