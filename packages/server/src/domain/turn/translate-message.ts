/** The Agent SDK's messages, one function per type. Types and subtypes not named here are not shown to clients. */
import { isRequestFailure, refusal, requestFailure, resultFailure, retryFailure } from './failure.ts'
import {
  type AssistantMessage,
  assistantMessage,
  type ResultMessage,
  resultMessage,
  type SystemMessage,
  systemMessage,
  userMessage,
} from './sdk-message.ts'
import { failLocal } from './mcp-failure.ts'
import { closeOpenCalls, endCall, showCall } from './tool-calls.ts'
import type { TurnLog } from './turn-log.ts'

/** The CLI's own stand-in messages (no model made them) carry this as their model. */
const SYNTHETIC_MODEL = '<synthetic>'
/** How the CLI notes an interrupt in the conversation. */
const INTERRUPTED = '[Request interrupted by user'

export function translateMessage(log: TurnLog, message: Readonly<Record<string, unknown>>): void {
  switch (message['type']) {
    case 'assistant': {
      const parsed = assistantMessage.safeParse(message)
      if (parsed.success) assistant(log, parsed.data)
      return
    }
    case 'user': {
      const parsed = userMessage.safeParse(message)
      if (parsed.success) user(log, parsed.data)
      return
    }
    case 'result': {
      const parsed = resultMessage.safeParse(message)
      if (parsed.success) result(log, parsed.data)
      return
    }
    case 'system': {
      const parsed = systemMessage.safeParse(message)
      if (parsed.success) system(log, parsed.data)
      return
    }
    default:
  }
}

function assistant(log: TurnLog, message: AssistantMessage): void {
  if (isOfSubagent(message) || message.aborted === true) return
  if (typeof message.error === 'string') {
    log.failRequest(requestFailure(message.error, textOf(message)))
    return
  }
  if (message.message.model === SYNTHETIC_MODEL) return
  log.endRetrying()
  const { request } = log.turn
  for (const block of message.message.content) {
    if (block === null) continue
    switch (block.type) {
      case 'text':
        if (request !== null) request.texts.push(block.text)
        else if (log.turn.cut !== null) log.turn.cut.push(block.text)
        else log.add({ type: 'agent.message', content: [{ type: 'text', text: block.text }] })
        break
      case 'thinking':
      case 'redacted_thinking':
        log.showCut()
        log.flushText()
        log.showThinking()
        break
      case 'tool_use':
        log.showCut()
        log.flushText()
        showCall(log, block)
        break
      default:
        block satisfies never
    }
  }
}

function textOf(message: AssistantMessage): string {
  const texts = message.message.content.map((block) => (block !== null && block.type === 'text' ? block.text : ''))
  return texts.join('') || `the model request failed (${message.error ?? 'unknown'})`
}

function user(log: TurnLog, message: ReturnType<typeof userMessage.parse>): void {
  const { content } = message.message
  if (isOfSubagent(message) || typeof content === 'string') return
  for (const block of content) {
    if (block === null) continue
    if (block.type === 'tool_result') endCall(log, block)
    // The CLI keeps what was cut, and has the model go on behind it.
    else if (!block.text.startsWith(INTERRUPTED)) log.showCut()
  }
}

function result(log: TurnLog, message: ResultMessage): void {
  log.flushText()
  log.turn.cut = null
  const failure = resultFailure(message)
  if (failure !== undefined && isRequestFailure(message)) log.failRequest(failure)
  else if (failure !== undefined) log.fail(failure)
  if (message.stop_reason === 'refusal') log.turn.refusal ??= refusal(null, null)
  closeOpenCalls(log, () => 'The turn ended before this call had a result.')
}

function system(log: TurnLog, message: SystemMessage): void {
  switch (message.subtype) {
    case 'session_state_changed':
      log.isActive = message.state === 'running'
      log.isOver = message.state === 'idle'
      return
    case 'api_retry':
      log.turn.cut = null
      log.add({ type: 'session.error', error: retryFailure(message) })
      if (log.turn.retrying) return
      log.turn.retrying = true
      log.add({ type: 'session.status_rescheduled' })
      log.add({ type: 'session.thread_status_rescheduled', ...log.thread() })
      return
    case 'init':
      failLocal(log, message)
      return
    case 'compact_boundary':
      log.add({ type: 'agent.thread_context_compacted' })
      return
    case 'model_refusal_no_fallback':
      log.turn.refusal = refusal(message.category, message.explanation)
      return
    default:
      message satisfies never
  }
}

function isOfSubagent(message: { parent_tool_use_id?: string | null | undefined }): boolean {
  return typeof message.parent_tool_use_id === 'string'
}
