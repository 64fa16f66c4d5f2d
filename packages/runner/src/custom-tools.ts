import type { McpSdkServerConfigWithInstance } from '@anthropic-ai/claude-agent-sdk'
import type { Command, SessionConfig } from '@berth/protocol/link'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import type { CallToolResult, ContentBlock, Tool } from '@modelcontextprotocol/sdk/types.js'
import { z } from 'zod'
import type { Answers } from './answers.ts'
import { INTERRUPTED } from './gate.ts'

export type CustomResult = Pick<Command & { type: 'custom_result' }, 'content' | 'is_error'>

/** The CLI names the call it serves here; two equal calls differ in nothing else. */
const callMeta = z.object({ 'claudecode/toolUseId': z.string() })

/**
 * The tools that the client answers, as an MCP server inside the runner. Each call waits for its result. They are declared read-only, so
 * that the CLI makes parallel calls together instead of one after the other.
 */
export function customToolsServer(
  tools: SessionConfig['custom_tools'],
  results: Answers<CustomResult>,
): McpSdkServerConfigWithInstance {
  const instance = new McpServer({ name: 'custom', version: '1' }, { capabilities: { tools: {} } })
  instance.server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: tools.map(declare) }))
  instance.server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal }): Promise<CallToolResult> => {
    const { 'claudecode/toolUseId': id } = callMeta.parse(params._meta)
    try {
      const { content, is_error } = await results.take(id, signal)
      return { content: content.map(toMcp), isError: is_error }
    } catch (error) {
      if (!signal.aborted) throw error
      return { content: [{ type: 'text', text: INTERRUPTED }], isError: true }
    }
  })
  return { type: 'sdk', name: 'custom', instance }
}

function declare({ name, description, input_schema }: SessionConfig['custom_tools'][number]): Tool {
  return {
    name,
    description,
    inputSchema: { ...input_schema, type: 'object' },
    annotations: { readOnlyHint: true },
    // Otherwise the CLI may hide it behind its tool search.
    _meta: { 'anthropic/alwaysLoad': true },
  }
}

const text = z.object({ type: z.literal('text'), text: z.string() })
const image = z.object({
  type: z.literal('image'),
  source: z.object({ type: z.literal('base64'), media_type: z.string(), data: z.string() }),
})

/** A Messages API content block as MCP has it. What MCP has no word for is given as its JSON. */
function toMcp(block: Record<string, unknown>): ContentBlock {
  const asText = text.safeParse(block)
  if (asText.success) return { type: 'text', text: asText.data.text }
  const asImage = image.safeParse(block)
  if (asImage.success) {
    const { data, media_type } = asImage.data.source
    return { type: 'image', data, mimeType: media_type }
  }
  return { type: 'text', text: JSON.stringify(block) }
}
