import type { Server } from 'node:http'
import type { SessionRoute } from '@berth/protocol/gateway'
import type { EgressParts } from './egress/proxy.ts'
import { EgressListener } from './egress/listener.ts'
import type { SessionWay } from './injection/session-secrets.ts'
import { McpListener } from './mcp/listener.ts'
import type { McpParts } from './mcp/requests.ts'
import { SessionRequests, type SessionParts } from './session-requests.ts'
import { SocketFile } from './socket-file.ts'
import { createStrictServer } from './strict-server.ts'

export interface ListenerParts extends SessionParts {
  readonly egress: EgressParts
  readonly mcp: McpParts
}

/** The further sockets that a session has, as its route says. */
interface Further {
  readonly egress: EgressListener | undefined
  readonly mcp: McpListener | undefined
}

/** One session's sockets and the servers behind them: its way to the model and, where it has them, its way out and to its MCP servers. */
export class SessionListener implements AsyncDisposable {
  readonly requests: SessionRequests
  readonly #server: Server
  readonly #file: SocketFile
  readonly #egress: EgressListener | undefined
  readonly #mcp: McpListener | undefined

  private constructor(server: Server, requests: SessionRequests, file: SocketFile, { egress, mcp }: Further) {
    this.#server = server
    this.requests = requests
    this.#file = file
    this.#egress = egress
    this.#mcp = mcp
  }

  /**
   * Listens at the route's paths, replacing whatever sockets stand there. Leaves nothing when it throws (`invalid_request`: a path cannot
   * be listened on; `unavailable`: not by this user).
   */
  static async open(parts: ListenerParts, sessionId: string, route: SessionRoute): Promise<SessionListener> {
    const requests = new SessionRequests(parts, sessionId, route)
    const server = createModelServer(requests)
    const fresh = parts.newId().slice(-6)
    await using opened = new AsyncDisposableStack()
    const { mcp } = route
    const way = wayOf(route)
    const further = {
      egress: way && opened.use(await EgressListener.open(parts.egress, { sessionId, way, fresh })),
      mcp: mcp && opened.use(await McpListener.open(parts.mcp, { sessionId, route: { ...route, mcp }, fresh })),
    }
    const file = await SocketFile.listen(server, { path: route.socket_path, ownerUid: route.owner_uid, fresh })
    opened.move()
    return new SessionListener(server, requests, file, further)
  }

  /** Can it take this route without other sockets, and has nobody removed or replaced those it has? */
  async serves(route: SessionRoute): Promise<boolean> {
    const now = this.requests.route
    const isSame =
      now.socket_path === route.socket_path &&
      now.owner_uid === route.owner_uid &&
      now.egress?.socket_path === route.egress?.socket_path &&
      now.egress?.owner_uid === route.egress?.owner_uid &&
      now.mcp?.socket_path === route.mcp?.socket_path &&
      now.mcp?.owner_uid === route.mcp?.owner_uid
    const files = [this.#file, this.#egress, this.#mcp].filter((each) => each !== undefined)
    return isSame && (await Promise.all(files.map((each) => each.isThere()))).every(Boolean)
  }

  /** Takes another route that it `serves`; model requests under way keep the old one, ways out that it does not allow are cut. */
  change(route: SessionRoute): void {
    this.requests.route = route
    const way = wayOf(route)
    if (way !== undefined) this.#egress?.change(way)
    if (route.mcp !== undefined) this.#mcp?.change({ ...route, mcp: route.mcp })
  }

  /** Stops listening and waits for what is under way; when `signal` is aborted, cuts it. The sockets' files stay. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#server.close()
    const cut = () => this.requests.abort()
    if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    await Promise.all([this.requests.drain(), this.#egress?.drain(signal), this.#mcp?.drain(signal)])
    signal.removeEventListener('abort', cut)
    this.#server.closeAllConnections()
  }

  /** For a listener whose place has been taken: removes its sockets if they stand elsewhere, and lets what is under way end. */
  async retire(): Promise<void> {
    await this.#removeFiles()
    await this.drain(new AbortController().signal)
  }

  /** Cuts everything and removes the sockets. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#removeFiles()
    await this.drain(AbortSignal.abort())
  }

  async #removeFiles(): Promise<void> {
    await this.#file.remove()
    await this.#egress?.removeFile()
    await this.#mcp?.removeFile()
  }
}

function wayOf({ egress, workspace_id, vaults }: SessionRoute): SessionWay | undefined {
  return egress === undefined ? undefined : { ...egress, workspace_id, vaults }
}

function createModelServer(requests: SessionRequests): Server {
  const server = createStrictServer({
    requestTimeout: 120_000,
    // Longer than any client keeps a connection, so that it is never the server who closes one just as it is used.
    keepAliveTimeout: 600_000,
    maxConnections: 64,
    refuse: (what, client) => client.end(bare(statuses[what], 'The request is malformed')),
  })
  server.on('request', (request, response) => void requests.handle(request, response))
  server.on('connect', (_request, client) => client.end(bare('405 Method Not Allowed', 'CONNECT is not available')))
  return server
}

const statuses = { too_large: '431 Request Header Fields Too Large', malformed: '400 Bad Request' } as const

/** An answer to what never became a request. */
function bare(status: string, message: string): string {
  const body = JSON.stringify({ type: 'error', error: { type: 'invalid_request_error', message }, request_id: null })
  const head = `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\nx-should-retry: false\r\nconnection: close\r\n`
  return `${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}
