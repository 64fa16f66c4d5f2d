/**
 * The closed list of what a sandbox may ask of the model API. Pure: bytes in, the bytes to send out, or a `Refusal`. The body is
 * parsed once and what was examined is what is sent, so that the upstream cannot read anything else out of it.
 *
 * Refused is whatever would use the gateway's key for more than this one conversation: state held by the API (files, containers,
 * threads, profiles), addresses the API would fetch (MCP servers, URLs), tools the API would run, models outside the session's list,
 * and dearer ways to run them. Fields and content blocks that no list names are refused too.
 */
import type { SessionRoute } from '@berth/protocol/gateway'
import { z } from 'zod'
import { allowsServerTool } from './betas.ts'
import { Refusal } from './refusal.ts'

export type Policy = Pick<SessionRoute, 'models' | 'server_tools'>
export type Endpoint = 'messages' | 'count_tokens'

/** `body` is what to send. */
export interface Admitted {
  readonly body: Buffer
  readonly model: string
  readonly stream: boolean
}

const MAX_DEPTH = 32

const blockType = z.enum([
  'text',
  'image',
  'document',
  'search_result',
  'thinking',
  'redacted_thinking',
  'tool_use',
  'tool_result',
  'tool_reference',
  'tool_addition',
  'tool_removal',
  'server_tool_use',
  'web_search_tool_result',
  'web_fetch_tool_result',
  'tool_search_tool_result',
  'advisor_tool_result',
  'code_execution_tool_result',
  'bash_code_execution_tool_result',
  'text_editor_code_execution_tool_result',
  'browser_state',
  'compaction',
  'fallback',
])

const blocks = z.array(
  z.looseObject({
    type: blockType,
    content: z.union([z.string(), z.array(z.unknown()), z.looseObject({}), z.null()]).optional(),
  }),
)
const content = z.union([z.string(), blocks])
const loose = z.looseObject({})
const tool = z.looseObject({ type: z.string().nullish(), name: z.string().optional(), model: z.string().optional() })
const edit = z.looseObject({
  type: z.enum(['clear_thinking_20251015', 'clear_tool_uses_20250919', 'compact_20260112']),
})

const request = z.strictObject({
  model: z.string().min(1).max(256),
  messages: z.array(z.looseObject({ role: z.enum(['user', 'assistant', 'system']), content })),
  max_tokens: z.int().positive().optional(),
  system: content.optional(),
  tools: z.array(tool).optional(),
  tool_choice: loose.optional(),
  stream: z.boolean().optional(),
  stop_sequences: z.array(z.string()).optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  top_k: z.number().optional(),
  thinking: loose.optional(),
  output_config: loose.optional(),
  output_format: loose.nullish(),
  cache_control: loose.nullish(),
  metadata: loose.optional(),
  service_tier: z.enum(['auto', 'standard_only']).optional(),
  speed: z.literal('standard').nullish(),
  context_management: z.strictObject({ edits: z.array(edit).optional() }).nullish(),
  compaction: z.strictObject({ type: z.literal('summarize'), instructions: z.string().nullish() }).nullish(),
  fallbacks: z.union([z.literal('default'), z.array(z.looseObject({ model: z.string() }))]).nullish(),
})
type ModelRequest = z.infer<typeof request>

export function admit(bytes: Uint8Array, endpoint: Endpoint, policy: Policy): Admitted {
  const parsed = request.safeParse(parseJson(bytes))
  if (!parsed.success) throw new Refusal(400, describe(parsed.error))
  const body = parsed.data
  if (endpoint === 'messages' && body.max_tokens === undefined) throw new Refusal(400, 'max_tokens: is required')
  checkModels(body, policy)
  body.tools?.forEach((each, index) => checkTool(each, `tools.${index}`, policy))
  examine(body.system, 'system', policy)
  examine(body.messages, 'messages', policy)
  return { body: serialise(body), model: body.model, stream: body.stream === true }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    throw new Refusal(400, 'The body is not valid JSON in UTF-8')
  }
}

function serialise(body: ModelRequest): Buffer {
  try {
    return Buffer.from(JSON.stringify(body))
  } catch {
    throw new Refusal(400, 'The body is nested too deeply')
  }
}

function describe(error: z.ZodError): string {
  const issue = error.issues[0]
  const path = issue?.path.map(String).join('.').slice(0, 200)
  return `${path === undefined || path === '' ? 'body' : path}: ${issue?.message.slice(0, 300) ?? 'is invalid'}`
}

function checkModels(body: ModelRequest, policy: Policy): void {
  checkModel(body.model, policy)
  if (body.fallbacks === 'default' && policy.models !== null) {
    throw new Refusal(400, 'fallbacks: "default" is not allowed where the models are limited')
  }
  if (Array.isArray(body.fallbacks)) body.fallbacks.forEach((fallback) => checkModel(fallback.model, policy))
}

function checkModel(model: string, policy: Policy): void {
  if (policy.models !== null && !policy.models.includes(model)) {
    throw new Refusal(404, `model: ${JSON.stringify(model)} is not allowed in this session`)
  }
}

/** Tools that the CLI or our runner carries out; the API only knows their shape. */
const clientTool = /^(bash|text_editor|memory|computer|browser_toolset|computer_toolset)_\d{8}$/

function checkTool(definition: z.infer<typeof tool>, at: string, policy: Policy): void {
  if (definition.model !== undefined) checkModel(definition.model, policy)
  const type = definition.type ?? 'custom'
  if (type === 'custom' || clientTool.test(type)) return
  if (type.startsWith('mcp_') || !allowsServerTool(policy.server_tools, type)) {
    throw new Refusal(400, `${at}.type: the tool ${JSON.stringify(type.slice(0, 64))} is not allowed in this session`)
  }
}

/** Walks everything below `value`, except the `input` of a tool call, which is plain JSON that nobody resolves. */
function examine(value: unknown, at: string, policy: Policy, depth = 0): void {
  if (typeof value !== 'object' || value === null) return
  if (depth > MAX_DEPTH) throw new Refusal(400, `${at}: is nested too deeply`)
  if (Array.isArray(value)) {
    value.forEach((each, index) => examine(each, `${at}.${index}`, policy, depth + 1))
    return
  }
  const fields = new Map<string, unknown>(Object.entries(value))
  const type = fields.get('type')
  if (fields.get('file_id') !== undefined && fields.get('file_id') !== null)
    throw unavailable(`${at}.file_id`, 'files of the API')
  if (typeof type === 'string' && /^(mcp_|container_)/.test(type)) throw unavailable(`${at}.type`, type)
  checkSource(fields.get('source'), `${at}.source`)
  if (type === 'tool_addition' || type === 'tool_removal') checkToolChange(fields.get('tool'), `${at}.tool`, policy)
  const isCall = type === 'tool_use' || type === 'server_tool_use'
  for (const [key, child] of fields) {
    if (!(isCall && key === 'input')) examine(child, `${at}.${key.slice(0, 64)}`, policy, depth + 1)
  }
}

const inlineSource = z.looseObject({ type: z.enum(['base64', 'text', 'content']) })

/** Images and documents come within the request. A search result's source is a mere label. */
function checkSource(source: unknown, at: string): void {
  if (source === undefined || source === null || typeof source === 'string') return
  if (!inlineSource.safeParse(source).success)
    throw unavailable(`${at}.type`, 'a source other than base64, text and content')
}

const toolChange = z.union([
  z.looseObject({ type: z.literal('tool_reference') }),
  z.looseObject({ type: z.literal('tool_definition'), definition: tool }),
])

function checkToolChange(change: unknown, at: string, policy: Policy): void {
  const parsed = toolChange.safeParse(change)
  if (!parsed.success) throw unavailable(at, 'a tool of an MCP server')
  const definition = tool.safeParse(parsed.data.definition ?? {})
  if (!definition.success) throw new Refusal(400, `${at}.definition: is not a tool`)
  checkTool(definition.data, `${at}.definition`, policy)
}

function unavailable(at: string, what: string): Refusal {
  return new Refusal(400, `${at}: ${what.slice(0, 64)} is not available in a sandbox`)
}
