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
import { measureJson } from './json-shape.ts'
import { Refusal } from './refusal.ts'

export type Policy = Pick<SessionRoute, 'models' | 'server_tools'>
export type Endpoint = 'messages' | 'count_tokens'

/** `body` is what to send. */
export interface Admitted {
  readonly body: Buffer
  readonly model: string
  /** Whichever may answer; null: any. */
  readonly answering: readonly string[] | null
  /** 0 where nothing is made. */
  readonly maxTokens: number
  readonly stream: boolean
}

/** A conversation of ten thousand messages has about a hundred thousand. */
const MAX_NODES = 500_000
const MAX_DEPTH = 100
const MAX_FIELDS = 100

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

const block = z.looseObject({
  type: blockType,
  content: z.union([z.string(), z.array(z.unknown()), z.looseObject({}), z.null()]).optional(),
})
const content = z.union([z.string(), z.array(z.unknown())])
const message = z.looseObject({ role: z.enum(['user', 'assistant', 'system']), content })
const loose = z.looseObject({})
const tool = z.looseObject({ type: z.string().nullish(), name: z.string().optional(), model: z.string().optional() })
const edit = z.looseObject({
  type: z.enum(['clear_thinking_20251015', 'clear_tool_uses_20250919', 'compact_20260112']),
})

const safeguard = z.looseObject({ type: z.literal('dangerous_tool_use') })
const fallback = z.looseObject({ model: z.string() })

/** Lists hold what they hold until their turn comes: one part is read at a time, so that the first thing wrong ends the work. */
const request = z.strictObject({
  model: z.string().min(1).max(256),
  messages: z.array(z.unknown()),
  max_tokens: z.int().positive().optional(),
  system: content.optional(),
  tools: z.array(z.unknown()).optional(),
  tool_choice: loose.optional(),
  stream: z.boolean().optional(),
  stop_sequences: z.array(z.unknown()).optional(),
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
  context_management: z.strictObject({ edits: z.array(z.unknown()).optional() }).nullish(),
  safeguards: z.array(z.unknown()).nullish(),
  compaction: z.strictObject({ type: z.literal('summarize'), instructions: z.string().nullish() }).nullish(),
  fallbacks: z.union([z.literal('default'), z.array(z.unknown())]).nullish(),
})
type ModelRequest = z.infer<typeof request>

export function admit(bytes: Buffer, endpoint: Endpoint, policy: Policy): Admitted {
  const json = parseJson(bytes)
  if (typeof json === 'object' && json !== null && Object.keys(json).length > MAX_FIELDS) {
    throw new Refusal(400, 'The request has too many fields')
  }
  const given = read(request, json, 'body')
  if (endpoint === 'messages' && given.max_tokens === undefined) throw new Refusal(400, 'max_tokens: is required')
  const answering = checkModels(given, policy)
  given.context_management?.edits?.forEach((each, index) => read(edit, each, `context_management.edits.${index}`))
  given.safeguards?.forEach((each, index) => read(safeguard, each, `safeguards.${index}`))
  const tools = given.tools?.map((each, index) => readTool(each, `tools.${index}`, policy))
  const system = given.system === undefined ? undefined : readContent(given.system, 'system', policy)
  const messages = given.messages.map((each, index) => {
    const at = `messages.${index}`
    const { content, ...rest } = read(message, each, at)
    examine(rest, at, policy)
    return { ...rest, content: readContent(content, `${at}.content`, policy) }
  })
  const body = {
    ...given,
    messages,
    ...(system === undefined ? {} : { system }),
    ...(tools === undefined ? {} : { tools }),
  }
  return {
    body: Buffer.from(JSON.stringify(body)),
    model: given.model,
    answering,
    maxTokens: given.max_tokens ?? 0,
    stream: given.stream === true,
  }
}

function readContent(given: string | unknown[], at: string, policy: Policy): unknown {
  if (typeof given === 'string') return given
  return given.map((each, index) => {
    const one = read(block, each, `${at}.${index}`)
    examine(one, `${at}.${index}`, policy)
    return one
  })
}

function read<S extends z.ZodType>(schema: S, value: unknown, at: string): z.infer<S> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const path = [at === 'body' ? [] : [at], issue?.path.map(String) ?? []].flat().join('.')
  throw new Refusal(
    400,
    `${path === '' ? 'body' : path.slice(0, 200)}: ${issue?.message.slice(0, 300) ?? 'is invalid'}`,
  )
}

function parseJson(bytes: Buffer): unknown {
  const { nodes, depth } = measureJson(bytes, MAX_NODES)
  if (nodes > MAX_NODES) throw new Refusal(413, 'The request has too many parts')
  if (depth > MAX_DEPTH) throw new Refusal(400, 'The request is nested too deeply')
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    throw new Refusal(400, 'The body is not valid JSON in UTF-8')
  }
}

/** Answers the models that may answer, or null for any. */
function checkModels(body: ModelRequest, policy: Policy): string[] | null {
  checkModel(body.model, policy)
  if (body.fallbacks === 'default' && policy.models !== null) {
    throw new Refusal(400, 'fallbacks: "default" is not allowed where the models are limited')
  }
  if (body.fallbacks === 'default') return null
  const fallbacks = (body.fallbacks ?? []).map((each, index) => read(fallback, each, `fallbacks.${index}`).model)
  for (const model of fallbacks) checkModel(model, policy)
  return [body.model, ...fallbacks]
}

function checkModel(model: string, policy: Policy): void {
  if (policy.models !== null && !policy.models.includes(model)) {
    throw new Refusal(404, `model: ${JSON.stringify(model)} is not allowed in this session`)
  }
}

/** Tools that the CLI or our runner carries out; the API only knows their shape. */
const clientTool = /^(bash|text_editor|memory|computer|browser_toolset|computer_toolset)_\d{8}$/

function readTool(value: unknown, at: string, policy: Policy): z.infer<typeof tool> {
  const definition = read(tool, value, at)
  if (definition.model !== undefined) checkModel(definition.model, policy)
  const type = definition.type ?? 'custom'
  if (type === 'custom' || clientTool.test(type)) return definition
  if (type.startsWith('mcp_') || !allowsServerTool(policy.server_tools, type)) {
    throw new Refusal(400, `${at}.type: the tool ${JSON.stringify(type.slice(0, 64))} is not allowed in this session`)
  }
  return definition
}

/** What of a block is plain JSON that nobody resolves (a tool call's input), or examined by itself (a tool's definition). */
const opaqueField: Readonly<Record<string, string>> = {
  tool_use: 'input',
  server_tool_use: 'input',
  tool_addition: 'tool',
  tool_removal: 'tool',
}

/** Walks everything below `value`. */
function examine(value: unknown, at: string, policy: Policy): void {
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    value.forEach((each, index) => examine(each, `${at}.${index}`, policy))
    return
  }
  const fields = new Map<string, unknown>(Object.entries(value))
  const type = fields.get('type')
  if (fields.get('file_id') !== undefined && fields.get('file_id') !== null)
    throw unavailable(`${at}.file_id`, 'files of the API')
  if (typeof type === 'string' && /^(mcp_|container_)/.test(type)) throw unavailable(`${at}.type`, type)
  checkSource(fields.get('source'), `${at}.source`)
  const opaque = typeof type === 'string' && Object.hasOwn(opaqueField, type) ? opaqueField[type] : undefined
  if (opaque === 'tool') checkToolChange(fields.get('tool'), `${at}.tool`, policy)
  for (const [key, child] of fields) {
    if (key !== opaque) examine(child, `${at}.${key.slice(0, 64)}`, policy)
  }
}

const inlineSource = z.looseObject({ type: z.enum(['base64', 'text', 'content']) })

/** Images and documents come within the request. A search result's source is a mere label. */
function checkSource(source: unknown, at: string): void {
  if (source === undefined || source === null || typeof source === 'string') return
  if (!inlineSource.safeParse(source).success)
    throw unavailable(`${at}.type`, 'a source other than base64, text and content')
}

const toolChange = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('tool_reference') }),
  z.looseObject({ type: z.literal('tool_definition'), definition: z.unknown() }),
])

function checkToolChange(change: unknown, at: string, policy: Policy): void {
  const parsed = toolChange.safeParse(change)
  if (!parsed.success) throw unavailable(at, 'a tool of an MCP server')
  if (parsed.data.type === 'tool_definition') readTool(parsed.data.definition, `${at}.definition`, policy)
}

function unavailable(at: string, what: string): Refusal {
  return new Refusal(400, `${at}: ${what.slice(0, 64)} is not available in a sandbox`)
}
