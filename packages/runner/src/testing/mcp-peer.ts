import { createServer } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { chmodSync } from 'node:fs'
import { z } from 'zod'

const message = z.object({
  id: z.union([z.string(), z.number()]).optional(),
  method: z.string().optional(),
  params: z.record(z.string(), z.unknown()).optional(),
})
export type McpMessage = z.infer<typeof message>

export interface Exchange {
  readonly message: McpMessage
  readonly headers: IncomingHttpHeaders
  readonly response: ServerResponse
  /** Answers with a result, as JSON. */
  readonly result: (result: unknown) => void
}

/** One server: what it answers in its own way. Everything else it does as one should. */
export interface McpScript {
  /** As `tools/list` has them. */
  tools?: unknown[]
  /** By method. Without an answer, the exchange stays open. */
  on?: Record<string, (exchange: Exchange) => void>
}

export const tool = (name: string, more: object = {}) => ({
  name,
  description: `Does ${name}.`,
  inputSchema: { type: 'object', properties: { q: { type: 'string' } } },
  ...more,
})

const call = z.object({ name: z.string(), arguments: z.record(z.string(), z.unknown()).optional() })

/** MCP servers as the gateway leads to them: `/{name}` on a unix socket. Written by hand, for one that is a library cannot lie. */
export class McpPeer implements AsyncDisposable {
  readonly servers: Record<string, McpScript> = {}
  /** Every message of a client, with the server that it went to. */
  readonly received: {
    readonly server: string
    readonly message: McpMessage
    readonly headers: IncomingHttpHeaders
  }[] = []
  readonly #listening = new Map<string, Set<ServerResponse>>()
  readonly #http: Server

  private constructor(http: Server) {
    this.#http = http
    http.on('request', (request, response) => void this.#serve(request, response))
  }

  static async listen(path: string): Promise<McpPeer> {
    const peer = new McpPeer(createServer())
    await new Promise<void>((resolve) => peer.#http.listen(path, resolve))
    chmodSync(path, 0o777)
    return peer
  }

  /** The same as hosts of the web. */
  static async listenTls(certificate: { key: string; cert: string }, host: string): Promise<McpPeer> {
    const peer = new McpPeer(createTlsServer(certificate))
    await new Promise<void>((resolve) => peer.#http.listen(443, host, resolve))
    return peer
  }

  /** Messages of a method, in the order of their coming. */
  of(method: string): McpMessage[] {
    return this.received.flatMap(({ message }) => (message.method === method ? [message] : []))
  }

  /** Says something by itself to all who listen. */
  notify(server: string, notification: object): void {
    for (const response of this.#listening.get(server) ?? []) {
      response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', ...notification })}\n\n`)
    }
  }

  listeners(server: string): number {
    return this.#listening.get(server)?.size ?? 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#http.close(resolve))
    this.#http.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined)
    const server = (request.url ?? '').slice(1)
    const script = this.servers[server]
    if (script === undefined) return void response.writeHead(404).end()
    if (request.method === 'GET') return this.#listen(server, response)
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    if (body === '') return void response.writeHead(200).end()
    const parsed = message.parse(JSON.parse(body))
    this.received.push({ server, message: parsed, headers: request.headers })
    const result = (value: unknown): void => {
      response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'one' })
      response.end(JSON.stringify({ jsonrpc: '2.0', id: parsed.id, result: value }))
    }
    this.#answer(script, { message: parsed, headers: request.headers, response, result })
  }

  #answer({ on, tools = [] }: McpScript, exchange: Exchange): void {
    const { method = '', params } = exchange.message
    const own = on?.[method]
    if (own !== undefined) return own(exchange)
    switch (method) {
      case 'initialize':
        return exchange.result({
          protocolVersion: params?.['protocolVersion'],
          capabilities: { tools: { listChanged: true } },
          serverInfo: { name: 'scripted', version: '1' },
        })
      case 'tools/list':
        return exchange.result({ tools })
      case 'tools/call': {
        const { name, arguments: input } = call.parse(params)
        return exchange.result({ content: [{ type: 'text', text: `${name} got ${JSON.stringify(input)}` }] })
      }
      default:
        exchange.response.writeHead(202).end()
    }
  }

  #listen(server: string, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
    const listening = this.#listening.get(server) ?? new Set()
    this.#listening.set(server, listening.add(response))
    response.once('close', () => listening.delete(response))
  }
}
