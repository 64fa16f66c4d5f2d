/** The parts of Agent SDK messages that become events. Everything else of a message is kept raw and not looked at. */
import { z } from 'zod'

const block = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('text'), text: z.string() }),
  z.looseObject({ type: z.literal('thinking') }),
  z.looseObject({ type: z.literal('redacted_thinking') }),
  z.looseObject({
    type: z.literal('tool_use'),
    id: z.string(),
    name: z.string(),
    input: z.record(z.string(), z.unknown()).catch({}),
  }),
])
/** A block of a kind that we do not know is passed over. */
const blocks = z.array(z.union([block, z.looseObject({ type: z.string() }).transform(() => null)]))

const parent = { parent_tool_use_id: z.string().nullish() }

export const assistantMessage = z.looseObject({
  type: z.literal('assistant'),
  ...parent,
  /** Set when the message stands for a failed model request. */
  error: z.string().nullish(),
  /** The request was cut: this is as much of the answer as had come. */
  aborted: z.boolean().nullish(),
  message: z.looseObject({ id: z.string(), model: z.string().nullish(), content: blocks }),
})
export type AssistantMessage = z.infer<typeof assistantMessage>

export const toolResult = z.looseObject({
  type: z.literal('tool_result'),
  tool_use_id: z.string(),
  content: z.unknown(),
  is_error: z.boolean().nullish(),
})
export type ToolResult = z.infer<typeof toolResult>

const userText = z.looseObject({ type: z.literal('text'), text: z.string() })

export const userMessage = z.looseObject({
  type: z.literal('user'),
  ...parent,
  message: z.looseObject({
    content: z.union([
      z.string(),
      z.array(z.union([toolResult, userText, z.looseObject({ type: z.string() }).transform(() => null)])),
    ]),
  }),
})

export const resultMessage = z.looseObject({
  type: z.literal('result'),
  subtype: z.string(),
  is_error: z.boolean().catch(false),
  terminal_reason: z.string().nullish(),
  api_error_status: z.number().nullish(),
  stop_reason: z.string().nullish(),
  result: z.string().nullish(),
  errors: z.array(z.unknown()).nullish(),
})
export type ResultMessage = z.infer<typeof resultMessage>

export const systemMessage = z.discriminatedUnion('subtype', [
  z.looseObject({ type: z.literal('system'), subtype: z.literal('session_state_changed'), state: z.string() }),
  z.looseObject({
    type: z.literal('system'),
    subtype: z.literal('api_retry'),
    error_status: z.number().nullish(),
    error: z.string().nullish(),
    attempt: z.number().nullish(),
    max_retries: z.number().nullish(),
  }),
  z.looseObject({ type: z.literal('system'), subtype: z.literal('compact_boundary') }),
  z.looseObject({
    type: z.literal('system'),
    subtype: z.literal('init'),
    mcp_servers: z.array(z.looseObject({ name: z.string(), status: z.string() })).catch([]),
  }),
  z.looseObject({
    type: z.literal('system'),
    subtype: z.literal('model_refusal_no_fallback'),
    category: z.string().nullish(),
    explanation: z.string().nullish(),
  }),
])
export type SystemMessage = z.infer<typeof systemMessage>
export type ApiRetry = Extract<SystemMessage, { subtype: 'api_retry' }>
