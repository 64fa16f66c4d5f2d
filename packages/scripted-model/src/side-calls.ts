import type { Position } from './prompt.ts'
import { firstLine, textsOf, type MessagesRequest } from './request.ts'
import { instanceOf } from './schema-instance.ts'

const COMPACTION = 'CRITICAL: Respond with TEXT ONLY'

/**
 * The answer to a call that the CLI makes for itself (a session's title, a summary for compaction); undefined for a
 * turn's call. What such a call carries of the conversation is data: directives in it do nothing.
 */
export function sideAnswer(request: MessagesRequest, position: Position): string | undefined {
  const format = request.output_config?.format
  if (format?.type === 'json_schema') return JSON.stringify(instanceOf(format.schema, topicOf(request)))
  if (position.prompt.startsWith(COMPACTION)) return summaryOf(position.prompts.slice(0, -1))
  return undefined
}

/** First line of what the call is about, which the CLI wraps in a tag. */
function topicOf(request: MessagesRequest): string {
  const text = textsOf(request.messages.findLast((message) => message.role === 'user')?.content).at(-1) ?? ''
  return firstLine(text.replace(/^\s*<[a-z-]+>/, '')).slice(0, 60)
}

function summaryOf(prompts: string[]): string {
  const lines = prompts.map((prompt, index) => `${index + 1}. ${firstLine(prompt)}`)
  return `<summary>\nThe user said:\n${lines.join('\n')}\n</summary>`
}
