import type { StreamEvent } from './follow.ts'

/** What a transcript shows of an event. Texts are foreign and not yet neutral. */
export type Entry =
  | { kind: 'asked'; text: string }
  | { kind: 'said'; text: string }
  | { kind: 'called'; tool: string; input: string }
  | { kind: 'answered'; text: string; failed: boolean }
  | { kind: 'failed'; text: string }
  | { kind: 'noted'; text: string }

/** Undefined for events that only programs care about, and for types that are not known yet. */
export function entryOf(event: StreamEvent): Entry | undefined {
  if (event.type === 'user.message') return { kind: 'asked', text: textOf(event.content) }
  if (event.type === 'agent.message') return { kind: 'said', text: textOf(event.content) }
  return callOf(event) ?? stateOf(event)
}

function callOf(event: StreamEvent): Entry | undefined {
  if (event.type === 'agent.tool_use' || event.type === 'agent.custom_tool_use') {
    return { kind: 'called', tool: event.name, input: inputOf(event.input) }
  }
  if (event.type === 'agent.mcp_tool_use') {
    return { kind: 'called', tool: `${event.mcp_server_name}/${event.name}`, input: inputOf(event.input) }
  }
  if (
    event.type === 'agent.tool_result' ||
    event.type === 'agent.mcp_tool_result' ||
    event.type === 'user.custom_tool_result'
  ) {
    return { kind: 'answered', text: textOf(event.content ?? []), failed: event.is_error === true }
  }
  return undefined
}

function stateOf(event: StreamEvent): Entry | undefined {
  if (event.type === 'session.error') return { kind: 'failed', text: `${event.error.type}: ${event.error.message}` }
  if (event.type === 'session.status_rescheduled')
    return { kind: 'noted', text: 'the session was interrupted and is being resumed' }
  if (event.type === 'session.status_terminated') return { kind: 'noted', text: 'the session has ended' }
  if (event.type === 'session.deleted') return { kind: 'noted', text: 'the session was deleted' }
  if (event.type === 'agent.thread_context_compacted') return { kind: 'noted', text: 'the conversation was summarised' }
  if (event.type === 'user.interrupt') return { kind: 'noted', text: 'interrupted' }
  return undefined
}

interface Block {
  readonly type: string
  readonly text?: string
}

/** Blocks that are no text are named. */
export function textOf(blocks: readonly Block[]): string {
  return blocks.map((block) => block.text ?? `[${block.type}]`).join('\n')
}

/** What matters of a tool's input, in full: the one field that says it all, or the whole as JSON. */
export function inputOf(input: Readonly<Record<string, unknown>>): string {
  const fields = Object.values(input)
  const [only] = fields
  if (fields.length === 1 && typeof only === 'string') return only
  for (const name of ['command', 'file_path', 'pattern', 'url', 'query']) {
    const value = input[name]
    if (typeof value === 'string') return value
  }
  return JSON.stringify(input)
}
