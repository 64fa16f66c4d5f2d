import type { Command } from '@berth/protocol/link'
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { RemoteServers } from './remote-servers.ts'

/** What the line that makes a CLI take up a call says of it. */
const deferred = z.object({
  attachment: z.object({ toolName: z.string(), toolInput: z.record(z.string(), z.unknown()) }),
})

export interface RemoteCall {
  /** Makes the call, once. Answers the message with its result, as a CLI would have it. Rejects when the signal is aborted. */
  make(signal: AbortSignal): Promise<Record<string, unknown>>
}

/** A held call of a remote server's tool needs no CLI: the runner makes it. undefined: it is a call of another kind. */
export function remoteCall(
  { tool_use_id, line, digest }: (Command & { type: 'run_calls' })['calls'][number],
  remotes: RemoteServers | undefined,
): RemoteCall | undefined {
  if (remotes === undefined || digest === null) return undefined
  const { toolName: cliName, toolInput: input } = deferred.parse(JSON.parse(line)).attachment
  if (!remotes.has(cliName)) return undefined
  return {
    make: async (signal) => toMessage(tool_use_id, await remotes.call({ cliName, input, digest }, signal)),
  }
}

function toMessage(tool_use_id: string, { content, isError }: CallToolResult): Record<string, unknown> {
  const result = { type: 'tool_result', tool_use_id, content: content.map(toBlock), is_error: isError ?? false }
  return {
    type: 'user',
    uuid: randomUUID(),
    parent_tool_use_id: null,
    message: { role: 'user', content: [result] },
  }
}

function toBlock(block: CallToolResult['content'][number]): Record<string, unknown> {
  if (block.type === 'text') return { type: 'text', text: block.text }
  if (block.type !== 'image') throw new TypeError(`a result has a part of type ${block.type}`)
  return { type: 'image', source: { type: 'base64', media_type: block.mimeType, data: block.data } }
}
