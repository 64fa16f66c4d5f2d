/** Tool calls: how they are shown, when they are reached, how they end. */
import type { Report } from '@berth/protocol'
import { findTool, wireInput, wireName } from '../toolset.ts'
import type { ToolResult } from './sdk-message.ts'
import { toResultContent } from './tool-result.ts'
import type { TurnLog } from './turn-log.ts'
import type { Call } from './turn-state.ts'

const CUSTOM_PREFIX = 'mcp__custom__'

const unreached = { reached: false, answer: null, answerEventId: null, begun: false }

interface ToolUse {
  readonly id: string
  readonly name: string
  readonly input: Readonly<Record<string, unknown>>
}

/** Shows the call once, however often and by whichever way it is heard of. */
export function showCall(log: TurnLog, use: ToolUse): Call {
  const known = log.turn.calls[use.id]
  if (known !== undefined) return known
  const call = use.name.startsWith(CUSTOM_PREFIX) ? showCustomCall(log, use) : showBuiltinCall(log, use)
  log.turn.calls[use.id] = call
  return call
}

function showCustomCall(log: TurnLog, use: ToolUse): Call {
  const name = use.name.slice(CUSTOM_PREFIX.length)
  const eventId = log.add({ type: 'agent.custom_tool_use', name, input: { ...use.input } })
  return { eventId, kind: 'custom', gate: 'allow', ...unreached }
}

function showBuiltinCall(log: TurnLog, use: ToolUse): Call {
  const tool = findTool(log.context.tools, use.name)
  const gate = tool === undefined ? 'deny' : tool.policy === 'always_ask' ? 'ask' : 'allow'
  const eventId = log.add({
    type: 'agent.tool_use',
    name: wireName(use.name),
    input: wireInput(use.name, use.input),
    evaluated_permission: gate,
    // A tool that the agent does not have was refused before any policy.
    ...(tool === undefined ? {} : { evaluation: { type: gate === 'ask' ? 'always_ask' : 'always_allow' } }),
  })
  return { eventId, kind: 'builtin', gate, ...unreached }
}

export function reachCall(log: TurnLog, report: Extract<Report, { type: 'tool_call' }>): void {
  // Calls of subagents are the subagent's own; the session's list shows the primary thread.
  if (report.agent_id !== null) return
  log.endRetrying()
  log.flushText()
  showCall(log, { id: report.tool_use_id, name: report.name, input: report.input }).reached = true
}

export function beginCall(log: TurnLog, toolUseId: string): void {
  const call = log.turn.calls[toolUseId]
  if (call !== undefined) call.begun = true
}

export function endCall(log: TurnLog, result: ToolResult): void {
  const call = log.turn.calls[result.tool_use_id]
  if (call === undefined) return
  delete log.turn.calls[result.tool_use_id]
  // The client's own event is the record of a custom call's result.
  if (call.kind === 'custom' && call.answer !== null) return
  addResult(log, call, toResultContent(result.content), result.is_error ?? false)
}

/** Ends every call that has no result, each with an error result that says why. */
export function closeOpenCalls(log: TurnLog, why: (call: Call) => string): void {
  for (const call of Object.values(log.turn.calls)) addResult(log, call, [{ type: 'text', text: why(call) }], true)
  log.turn.calls = {}
}

function addResult(log: TurnLog, call: Call, content: ReturnType<typeof toResultContent>, isError: boolean): void {
  log.add({ type: 'agent.tool_result', tool_use_id: call.eventId, content, is_error: isError })
}
