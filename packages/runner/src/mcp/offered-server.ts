import type { McpSdkServerConfigWithInstance } from '@anthropic-ai/claude-agent-sdk'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import type { CallToolResult, Tool } from '@modelcontextprotocol/sdk/types.js'
import { INTERRUPTED } from '../gate.ts'
import type { RemoteServer } from './remote-server.ts'

/** A remote server as one CLI has it: an MCP server inside the runner that has tools and nothing else. */
export class OfferedServer {
  readonly #name: string
  readonly #remote: RemoteServer
  readonly #server = new McpServer({ name: 'remote', version: '1' }, { capabilities: { tools: { listChanged: true } } })
  /** What the CLI was last told; undefined: it has not asked yet. */
  #told: readonly Tool[] | undefined
  readonly #waiting = new Set<() => void>()

  constructor(name: string, remote: RemoteServer) {
    this.#name = name
    this.#remote = remote
    const { server } = this.#server
    server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: this.#tell().map(declare) }))
    server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal }): Promise<CallToolResult> => {
      try {
        // Nothing else of what the CLI says is the remote's to know.
        return await remote.call(params.name, params.arguments ?? {}, signal)
      } catch (error) {
        if (!signal.aborted) throw error
        return { content: [{ type: 'text', text: INTERRUPTED }], isError: true }
      }
    })
  }

  get config(): McpSdkServerConfigWithInstance {
    return { type: 'sdk', name: this.#name, instance: this.#server }
  }

  /** The remote's tools are others now: the CLI will ask for them. */
  changed(): void {
    if (this.#told !== undefined) this.#server.sendToolListChanged()
  }

  /** Resolves when the CLI has been told of the tools as they are, or the signal is aborted. One that has not asked yet will ask by itself. */
  async settled(signal: AbortSignal): Promise<void> {
    while (this.#told !== undefined && this.#told !== this.#remote.tools && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.add(resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
      await promise
      this.#waiting.delete(resolve)
    }
  }

  #tell(): readonly Tool[] {
    this.#told = this.#remote.tools
    for (const resolve of this.#waiting) resolve()
    return this.#told
  }
}

/** Otherwise the CLI may hide it behind its tool search. */
function declare(tool: Tool): Tool {
  return { ...tool, _meta: { 'anthropic/alwaysLoad': true } }
}
