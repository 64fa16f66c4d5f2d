/** Events of a session's log, as clients see them, and the two kinds of frames that exist on streams alone. */
import { z } from 'zod'
import { messageBlock, redactedBlock, resultBlock, textBlock } from './content.ts'
import { metadata } from './metadata.ts'
import { budget } from './money.ts'
import { sessionAgent, usage } from './session.ts'
import { idText, timestamp } from './text.ts'

/** Present on every stored event. `processed_at` is null only while a client's input waits. */
const stored = { id: idText, processed_at: timestamp }
const input = { id: idText, processed_at: timestamp.nullable() }

const event = <Type extends string, Shape extends z.ZodRawShape>(type: Type, shape: Shape) =>
  z.object({ type: z.literal(type), ...stored, ...shape })
const inputEvent = <Type extends string, Shape extends z.ZodRawShape>(type: Type, shape: Shape) =>
  z.object({ type: z.literal(type), ...input, ...shape })

const threadId = idText.nullish()
const resultContent = { content: z.array(resultBlock).optional(), is_error: z.boolean().nullish() }

/** What clients send, echoed. */
export const inputEvents = [
  inputEvent('user.message', { content: z.array(messageBlock) }),
  inputEvent('user.interrupt', { session_thread_id: threadId }),
  inputEvent('user.tool_confirmation', {
    tool_use_id: idText,
    result: z.enum(['allow', 'deny']),
    deny_message: z.string().nullish(),
    session_thread_id: threadId,
  }),
  inputEvent('user.custom_tool_result', {
    custom_tool_use_id: idText,
    ...resultContent,
    session_thread_id: threadId,
  }),
] as const

const toolInput = z.record(z.string(), z.unknown())
const evaluated = {
  evaluated_permission: z.enum(['allow', 'ask', 'deny']).optional(),
  /** Absent when the call was refused before any policy applied. */
  evaluation: z
    .discriminatedUnion('type', [
      z.object({ type: z.literal('always_allow') }),
      z.object({ type: z.literal('always_ask') }),
    ])
    .optional(),
  session_thread_id: threadId,
}

export const agentEvents = [
  /** One per model request that produced text. */
  event('agent.message', { content: z.array(z.discriminatedUnion('type', [textBlock, redactedBlock])) }),
  event('agent.thinking', {}),
  event('agent.tool_use', { name: z.string(), input: toolInput, ...evaluated }),
  event('agent.tool_result', { tool_use_id: idText, ...resultContent }),
  event('agent.mcp_tool_use', { mcp_server_name: z.string(), name: z.string(), input: toolInput, ...evaluated }),
  event('agent.mcp_tool_result', { mcp_tool_use_id: idText, ...resultContent }),
  event('agent.custom_tool_use', { name: z.string(), input: toolInput, session_thread_id: threadId }),
  event('agent.thread_context_compacted', {}),
] as const

export const stopReason = z.discriminatedUnion('type', [
  z.object({ type: z.literal('end_turn') }),
  /** Every call that waits for the client, by the id of its event. */
  z.object({ type: z.literal('requires_action'), event_ids: z.array(idText) }),
  z.object({ type: z.literal('retries_exhausted') }),
  z.object({ type: z.literal('budget_reached') }),
  z.object({ type: z.literal('refusal') }),
])
export type StopReason = z.infer<typeof stopReason>

const refusalCategories = ['cyber', 'bio', 'frontier_llm', 'reasoning_extraction', 'general_harms'] as const
export const stopDetails = z.object({
  type: z.literal('refusal'),
  category: z.enum(refusalCategories).nullable(),
  explanation: z.string().nullable(),
})
export type StopDetails = z.infer<typeof stopDetails>

const idle = { stop_reason: stopReason, stop_details: stopDetails.nullable() }
const thread = { session_thread_id: idText, agent_name: z.string() }

const retryStatus = z.discriminatedUnion('type', [
  z.object({ type: z.literal('retrying') }),
  z.object({ type: z.literal('exhausted') }),
  z.object({ type: z.literal('terminal') }),
])
const failure = <Type extends string>(type: Type) =>
  z.object({ type: z.literal(type), message: z.string(), retry_status: retryStatus })
const mcpFailure = <Type extends string>(type: Type) => failure(type).extend({ mcp_server_name: z.string() })

export const sessionError = z.discriminatedUnion('type', [
  failure('unknown_error'),
  failure('model_overloaded_error'),
  failure('model_rate_limited_error'),
  failure('model_request_failed_error'),
  failure('billing_error'),
  failure('tool_use_limit_reached_error'),
  failure('compaction_limit_reached_error'),
  mcpFailure('mcp_connection_failed_error'),
  mcpFailure('mcp_authentication_failed_error'),
  failure('credential_host_unreachable_error').extend({ vault_id: idText, credential_id: idText }),
])
export type SessionError = z.infer<typeof sessionError>

export const sessionEvents = [
  event('session.status_running', {}),
  event('session.status_idle', idle),
  event('session.status_rescheduled', {}),
  event('session.status_terminated', {}),
  event('session.thread_created', { ...thread, workflow_run_id: z.null() }),
  event('session.thread_status_running', thread),
  event('session.thread_status_idle', { ...thread, ...idle }),
  event('session.thread_status_rescheduled', thread),
  event('session.thread_status_terminated', thread),
  /** Only what the update changed; `metadata` whole, and absent when it became empty. */
  event('session.updated', {
    title: z.string().nullable().optional(),
    metadata: metadata.optional(),
    agent: sessionAgent.optional(),
    budget: budget.nullable().optional(),
  }),
  event('session.error', { error: sessionError }),
  event('session.usage', { usage, budget: budget.nullable() }),
  event('session.deleted', {}),
] as const

/** Ours: the profile does not have them. */
export const berthEvents = [
  /** The sandbox was put away, and with it so many processes that the agent had left running. */
  event('berth.processes_ended', { count: z.int().min(1) }),
] as const

const tokens = z.int().nonnegative()
export const spanEvents = [
  event('span.model_request_start', {}),
  event('span.model_request_end', {
    model_request_start_id: idText,
    is_error: z.boolean().nullable(),
    model_usage: z.object({
      input_tokens: tokens,
      output_tokens: tokens,
      cache_read_input_tokens: tokens,
      cache_creation_input_tokens: tokens,
      speed: z.enum(['standard', 'fast']).nullish(),
    }),
  }),
] as const

/** Every event that a log may hold. */
export const sessionEvent = z
  .discriminatedUnion('type', [...inputEvents, ...agentEvents, ...sessionEvents, ...spanEvents, ...berthEvents])
  .meta({ id: 'SessionEvent' })
export type SessionEvent = z.infer<typeof sessionEvent>
export type SessionEventType = SessionEvent['type']

/** One kind of event, by its type: `EventOf<'agent.message'>`. */
export type EventOf<Type extends SessionEventType> = Extract<SessionEvent, { type: Type }>
export type InputEvent = z.infer<(typeof inputEvents)[number]>

/** What can be previewed, by opting in with `event_deltas[]`. */
export const deltaTypes = ['agent.message', 'agent.thinking'] as const
export type DeltaType = (typeof deltaTypes)[number]

/** At most once per id, before its deltas; the stored event of that id is the last word. */
export const eventStart = z
  .object({
    type: z.literal('event_start'),
    event: z.discriminatedUnion('type', [
      z.object({ type: z.literal('agent.message'), id: idText }),
      z.object({ type: z.literal('agent.thinking'), id: idText }),
    ]),
  })
  .meta({ id: 'EventStart' })
export type EventStart = z.infer<typeof eventStart>

/** `index` counts content blocks from 0 without gaps; texts of one index concatenate to a prefix of the final block. */
export const eventDelta = z
  .object({
    type: z.literal('event_delta'),
    event_id: idText,
    delta: z.object({ type: z.literal('content_delta'), index: z.int().nonnegative(), content: textBlock }),
  })
  .meta({ id: 'EventDelta' })
export type EventDelta = z.infer<typeof eventDelta>

export type StreamFrame = SessionEvent | EventStart | EventDelta
