import type { SDKUserMessage } from '@anthropic-ai/claude-agent-sdk'

/** The calls of the main conversation whose results the message brings. */
export function callsOf({ message, parent_tool_use_id }: SDKUserMessage): string[] {
  if (parent_tool_use_id !== null || typeof message.content === 'string') return []
  return message.content.flatMap((block) => (block.type === 'tool_result' ? [block.tool_use_id] : []))
}
