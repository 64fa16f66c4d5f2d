import { createHash } from 'node:crypto'
import { emptyStep, parseScript, type ScriptBlock, type Step } from './parse-script.ts'
import type { Position } from './prompt.ts'
import { firstLine, newestResults, textsOf, type MessagesRequest } from './request.ts'
import { sideAnswer } from './side-calls.ts'

export type ReplyBlock =
  | { type: 'text'; text: string }
  | { type: 'thinking'; thinking: string; signature: string }
  | { type: 'tool_use'; id: string; name: string; input: Record<string, unknown> }

/** An assistant message of the Messages API. */
export interface ReplyMessage {
  id: string
  type: 'message'
  role: 'assistant'
  model: string
  content: ReplyBlock[]
  stop_reason: string
  stop_sequence: null
  usage: Record<string, unknown> & { output_tokens: number }
}

export interface Reply {
  /** The step that answers, with its pacing and faults. */
  step: Step
  message: ReplyMessage
}

/** What a reply depends on beside the request's body. */
export interface CallContext {
  position: Position
  /** Session and agent of the caller: equal conversations of two sessions get different ids. */
  scope: string
  requestBytes: number
  /** Another one for each try of the same call: message ids are never used twice. */
  call: string
}

const NOTICE = 'This is the scripted model: it says what lines beginning with :: tell it to.'

/** Throws ScriptError if the prompt's directives are wrong. */
export function replyTo(request: MessagesRequest, context: CallContext): Reply {
  const { position } = context
  const step = stepFor(request, position)
  const content = step.blocks.map((block, index) =>
    renderBlock(block, { request, position, scope: context.scope, index }),
  )
  const calls = content.some((block) => block.type === 'tool_use')
  return {
    step,
    message: {
      id: `msg_${digest(context.scope, JSON.stringify(request.messages), context.call)}`,
      type: 'message',
      role: 'assistant',
      model: request.model,
      content,
      stop_reason: step.stopReason ?? (calls ? 'tool_use' : 'end_turn'),
      stop_sequence: null,
      usage: {
        input_tokens: estimateTokens(context.requestBytes),
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
        output_tokens: estimateTokens(content.reduce((sum, block) => sum + blockBytes(block), 0)),
        ...step.usage,
      },
    },
  }
}

/** About four bytes a token. */
export function estimateTokens(bytes: number): number {
  return Math.ceil(bytes / 4)
}

function stepFor(request: MessagesRequest, position: Position): Step {
  const aside = sideAnswer(request, position)
  if (aside !== undefined) return sayOnly(aside)
  const script = parseScript(position.prompt)
  if (script.length === 0 && position.step === 0) return sayOnly(plainAnswer(request, position))
  const step = script[position.step] ?? emptyStep()
  return step.blocks.length === 0 ? { ...step, blocks: [{ type: 'text', text: 'Done.' }] } : step
}

function sayOnly(text: string): Step {
  return { ...emptyStep(), blocks: [{ type: 'text', text }] }
}

function plainAnswer(request: MessagesRequest, position: Position): string {
  const line = firstLine(position.prompt)
  const greeting = line === '' ? 'Hello!' : `You said: "${line}".`
  const told = request.messages.some(
    (message) => message.role === 'assistant' && textsOf(message.content).some((text) => text.includes(NOTICE)),
  )
  return told ? greeting : `${greeting} ${NOTICE}`
}

interface Place {
  request: MessagesRequest
  position: Position
  scope: string
  index: number
}

function renderBlock(block: ScriptBlock, place: Place): ReplyBlock {
  if (block.type === 'text') return { ...block, text: fillPlaceholders(block.text, place) }
  if (block.type === 'thinking') return { ...block, signature: digest(block.thinking) }
  return { ...block, id: toolUseId(place) }
}

/** The same place of the same conversation gives the same id; any other place another one. */
function toolUseId({ request, scope, index }: Place): string {
  return `toolu_${digest(scope, JSON.stringify(request.messages), String(index))}`
}

const placeholder = /\{\{(?:(result|prompt):(\d+)|(result|turns|system))\}\}/g

function fillPlaceholders(text: string, { request, position }: Place): string {
  if (!text.includes('{{')) return text
  const results = newestResults(request.messages)
  return text.replace(placeholder, (_, list: string | undefined, number: string, single: string | undefined) => {
    if (list === 'result') return results[Number(number) - 1] ?? '(no result)'
    if (list === 'prompt') return firstLine(position.prompts[Number(number) - 1] ?? '(no prompt)')
    if (single === 'result') return results.at(-1) ?? '(no result)'
    return single === 'turns' ? String(position.prompts.length) : systemStart(request)
  })
}

function systemStart(request: MessagesRequest): string {
  const texts = textsOf(request.system).filter((text) => !text.startsWith('x-anthropic-billing-header'))
  return texts.join('\n').slice(0, 200)
}

function blockBytes(block: ReplyBlock): number {
  if (block.type === 'text') return Buffer.byteLength(block.text)
  if (block.type === 'thinking') return Buffer.byteLength(block.thinking)
  return Buffer.byteLength(block.name) + Buffer.byteLength(JSON.stringify(block.input))
}

function digest(...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24)
}
