import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ErrorCode, McpError, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import type { SeenTool } from '@berth/protocol/seen-tools'
import type { CallToolResult, Tool } from '@modelcontextprotocol/sdk/types.js'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { inLimitedTime } from './limited-time.ts'
import { printable, RemoteFailure } from './remote-failure.ts'
import { SocketFetch } from './socket-fetch.ts'
import { readToolList } from './tool-list.ts'
import { ToolPins } from './tool-pins.ts'
import { errorResult, vetResult } from './tool-result.ts'

/** How long a server may take until we have its tools. */
const CONNECT_MS = 15_000
/** How long a call may take. */
const CALL_MS = 600_000
/** A server that changes its tools all the time is asked for them this often. */
const LIST_AGAIN_MS = 5_000
const CLOSED: number = ErrorCode.ConnectionClosed
const RECONNECTION = {
  initialReconnectionDelay: 1_000,
  maxReconnectionDelay: 60_000,
  reconnectionDelayGrowFactor: 3,
  maxRetries: 5,
}

type Input = Record<string, unknown>
type Asked = { readonly name: string; readonly arguments: Input }

export interface RemoteServerOptions {
  readonly name: string
  /** Of the gateway. */
  readonly socketPath: string
  readonly mayOffer: (tool: string) => boolean
  /** Called when the offered tools are others than before. */
  readonly onTools: () => void
  readonly onFailure: (failure: RemoteFailure) => void
  /** What was seen of its tools before. */
  readonly seen: readonly SeenTool[]
  /** Called with what was not, before anything of it is offered. */
  readonly onSeen: (news: readonly SeenTool[]) => void
}

interface Connection {
  readonly client: Client
  /** Aborted when it is over. */
  readonly closing: AbortController
  /** How many are under way. */
  calls: number
}

/** One remote server: connected when it is needed, contained in all that it says. It outlives the CLIs of its session. */
export class RemoteServer implements AsyncDisposable {
  readonly #options: RemoteServerOptions
  readonly #pins: ToolPins
  /** What the server has, as far as it can be used. */
  #known: readonly Tool[] = []
  #tools: readonly Tool[] = []
  #connection: Connection | undefined
  #connecting: Promise<Connection> | undefined
  #isListing = false
  /** The server has said that its tools are others now. */
  #isStale = false
  readonly #disposed = new AbortController()

  constructor(options: RemoteServerOptions) {
    this.#options = options
    this.#pins = new ToolPins(`mcp__${options.name}__`, options.seen)
  }

  /** What the model may know of; the same list as long as it says the same. Nothing while the server has never been there. */
  get tools(): readonly Tool[] {
    return this.#tools
  }

  /** What may be offered is something else now. */
  reconsider(): void {
    const offered = this.#known.filter((tool) => this.#options.mayOffer(tool.name))
    if (JSON.stringify(offered) === JSON.stringify(this.#tools)) return
    this.#tools = offered
    this.#options.onTools()
  }

  /** Connects if it is not connected. Rejects with `RemoteFailure`; not to be waited for longer than 15 seconds. */
  async connect(): Promise<void> {
    await this.#connected()
  }

  /**
   * The result of the call; of one that fails, a result that says why. Rejects only when `signal` is aborted. `digest`: of the tool for which it
   * was allowed, should that have been long ago.
   */
  async call(tool: string, input: Input, signal: AbortSignal, digest?: string): Promise<CallToolResult> {
    const { name, mayOffer } = this.#options
    if (!mayOffer(tool)) return errorResult(`The tool ${tool} is not allowed in this session.`)
    let connection: Connection
    try {
      connection = await (digest === undefined ? this.#connected() : this.#seenAnew())
    } catch (error) {
      const failure = asFailure(error)
      this.#options.onFailure(failure)
      return errorResult(`The MCP server ${name} ${failure.message}. The call was not made.`)
    }
    if (this.#pins.isWithheld(tool)) {
      return errorResult(`The MCP server has changed the tool ${tool} since this session first saw it. It is withheld.`)
    }
    if (digest !== undefined && !this.#hasStill(tool, digest)) {
      return errorResult(`The MCP server does not have the tool ${tool} as it was. The call was not made.`)
    }
    return this.#ask(connection, { name: tool, arguments: input }, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed.abort()
    await this.#connecting?.catch(() => undefined)
    this.#close()
  }

  async #ask(connection: Connection, params: Asked, signal: AbortSignal): Promise<CallToolResult> {
    connection.calls += 1
    try {
      const said = await inLimitedTime(signal, CALL_MS, (within) =>
        connection.client.request({ method: 'tools/call', params }, z.unknown(), {
          signal: within,
          timeout: CALL_MS * 2,
        }),
      )
      return vetResult(said)
    } catch (error) {
      signal.throwIfAborted()
      const { name, onFailure } = this.#options
      if (error instanceof McpError && error.code !== CLOSED) {
        return errorResult(`The MCP server ${name} did not carry out the call: ${printable(error.message)}`)
      }
      // The next call finds out whether it is there again. Others that are under way may come to their end.
      if (this.#connection === connection) this.#connection = undefined
      const failure = asFailure(error)
      onFailure(failure)
      return errorResult(`The MCP server ${name} ${failure.message}. The outcome of the call is unknown.`)
    } finally {
      connection.calls -= 1
      if (this.#connection !== connection && connection.calls === 0) connection.closing.abort()
    }
  }

  #hasStill(tool: string, digest: string): boolean {
    return this.#pins.digestOf(tool) === digest && this.#known.some(({ name }) => name === tool)
  }

  /** Connected, with its tools as they are now: it need not say that they have changed. */
  async #seenAnew(): Promise<Connection> {
    const before = this.#connection
    const connection = await this.#connected()
    if (connection !== before) return connection
    const { client, closing } = connection
    try {
      await inLimitedTime(closing.signal, CONNECT_MS, (within) => this.#list(client, within))
      return connection
    } catch {
      this.#close(connection)
      return this.#connected()
    }
  }

  async #connected(): Promise<Connection> {
    if (this.#connection !== undefined) return this.#connection
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined))
    return this.#connecting
  }

  async #connect(): Promise<Connection> {
    const { name, socketPath } = this.#options
    const client = new Client({ name: 'berth', version: '1' }, { capabilities: {} })
    const closing = new AbortController()
    const http = new SocketFetch(socketPath, (id) =>
      // For a request that has its answer it comes to nothing.
      transport.onmessage?.({
        jsonrpc: '2.0',
        id,
        error: { code: CLOSED, message: 'the server ended its answer before the result' },
      }),
    )
    const transport = new StreamableHTTPClientTransport(new URL(`http://mcp.berth.internal/${name}`), {
      fetch: http.fetch,
      reconnectionOptions: RECONNECTION,
    })
    closing.signal.addEventListener('abort', () => {
      http[Symbol.dispose]()
      void transport.close().catch(() => undefined)
    })
    const connection = { client, closing, calls: 0 }
    try {
      await inLimitedTime(this.#disposed.signal, CONNECT_MS, async (signal) => {
        await client.connect(transport, { signal, timeout: CONNECT_MS * 2 })
        await this.#list(client, signal)
      })
      this.#disposed.signal.throwIfAborted()
      client.setNotificationHandler(ToolListChangedNotificationSchema, () => this.#listSoon(connection))
      this.#connection = connection
      return connection
    } catch (error) {
      closing.abort()
      throw asFailure(error)
    }
  }

  async #list(client: Client, signal: AbortSignal): Promise<void> {
    const { tools, complaints, news } = this.#pins.take(await readToolList(client, signal))
    if (complaints.length > 0) this.#options.onFailure(new RemoteFailure('tools', complaints.join('; ')))
    if (news.length > 0) this.#options.onSeen(news)
    this.#known = tools
    this.reconsider()
  }

  #listSoon(connection: Connection): void {
    this.#isStale = true
    if (!this.#isListing) void this.#listWhileStale(connection)
  }

  async #listWhileStale({ client, closing: { signal } }: Connection): Promise<void> {
    this.#isListing = true
    try {
      while (this.#isStale) {
        this.#isStale = false
        await inLimitedTime(signal, CONNECT_MS, (within) => this.#list(client, within))
        await sleep(LIST_AGAIN_MS, undefined, { signal, ref: false })
      }
    } catch (error) {
      if (!signal.aborted) this.#options.onFailure(asFailure(error))
    } finally {
      this.#isListing = false
    }
  }

  #close(connection = this.#connection): void {
    if (connection === undefined) return
    if (this.#connection === connection) this.#connection = undefined
    connection.closing.abort()
  }
}

function asFailure(error: unknown): RemoteFailure {
  if (error instanceof RemoteFailure) return error
  return new RemoteFailure('connection', error instanceof Error ? error.message : String(error))
}
