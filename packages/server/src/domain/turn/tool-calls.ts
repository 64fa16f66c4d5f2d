/** Tool calls: how they are shown, when they are reached, how they end. */
import type { LinkPermissionPolicy, Report } from '@berth/protocol'
import type { EventOf } from '@berth/protocol/api/event'
import type { ResultBlock } from '@berth/protocol/api/content'
import { findMcpTool } from '../mcp-servers.ts'
import { findTool, wireInput, wireName } from '../toolset.ts'
import type { ToolResult } from './sdk-message.ts'
import { toResultContent } from './tool-result.ts'
import type { NewEvent, TurnLog } from './turn-log.ts'
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
  const call = use.name.startsWith(CUSTOM_PREFIX)
    ? showCustomCall(log, use)
    : (showMcpCall(log, use) ?? showBuiltinCall(log, use))
  log.turn.calls[use.id] = call
  return call
}

function showCustomCall(log: TurnLog, use: ToolUse): Call {
  const name = use.name.slice(CUSTOM_PREFIX.length)
  const eventId = log.add({ type: 'agent.custom_tool_use', name, input: { ...use.input } })
  return { eventId, kind: 'custom', gate: 'allow', ...unreached }
}

function showBuiltinCall(log: TurnLog, use: ToolUse): Call {
  const gate = gateOf(findTool(log.context.tools, use.name)?.policy)
  const eventId = log.add({
    type: 'agent.tool_use',
    name: wireName(use.name),
    input: wireInput(use.name, use.input),
    ...evaluated(gate),
  })
  return { eventId, kind: 'builtin', gate, ...unreached }
}

/** undefined: the agent has no such server. */
function showMcpCall(log: TurnLog, use: ToolUse): Call | undefined {
  const found = findMcpTool(log.context.tools.mcpServers, use.name)
  if (found === undefined) return undefined
  const gate = gateOf(found.policy)
  const eventId = log.add({
    type: 'agent.mcp_tool_use',
    mcp_server_name: found.server.name,
    name: found.name,
    input: { ...use.input },
    ...evaluated(gate),
  })
  return { eventId, kind: 'mcp', gate, ...unreached }
}

function gateOf(policy: LinkPermissionPolicy | undefined): Call['gate'] {
  if (policy === 'always_ask') return 'ask'
  return policy === 'always_allow' ? 'allow' : 'deny'
}

/** A tool that the agent does not have was refused before any policy. */
function evaluated(gate: Call['gate']): Pick<EventOf<'agent.tool_use'>, 'evaluated_permission' | 'evaluation'> {
  if (gate === 'deny') return { evaluated_permission: gate }
  return { evaluated_permission: gate, evaluation: { type: gate === 'ask' ? 'always_ask' : 'always_allow' } }
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

function addResult(log: TurnLog, call: Call, content: ResultBlock[], isError: boolean): void {
  log.add(resultEvent(call, content, isError))
}

/** The event that ends a call for clients, where they do not end it themselves. */
export function resultEvent(call: Call, content: ResultBlock[], isError: boolean): NewEvent {
  const result = { content, is_error: isError }
  return call.kind === 'mcp'
    ? { type: 'agent.mcp_tool_result', mcp_tool_use_id: call.eventId, ...result }
    : { type: 'agent.tool_result', tool_use_id: call.eventId, ...result }
}
