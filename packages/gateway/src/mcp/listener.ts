import { SocketFile } from '../socket-file.ts'
import { type McpParts, McpRequests, type McpSessionRoute } from './requests.ts'

interface Opening {
  readonly sessionId: string
  readonly route: McpSessionRoute
  /** Part of the name of a temporary file. */
  readonly fresh: string
}

/** The socket of one session's way to its MCP servers, and what is behind it. */
export class McpListener implements AsyncDisposable {
  readonly #requests: McpRequests
  readonly #file: SocketFile

  private constructor(requests: McpRequests, file: SocketFile) {
    this.#requests = requests
    this.#file = file
  }

  static async open(parts: McpParts, { sessionId, route, fresh }: Opening): Promise<McpListener> {
    const requests = new McpRequests(parts, sessionId, route)
    const place = { path: route.mcp.socket_path, ownerUid: route.mcp.owner_uid, fresh: `${fresh}m` }
    return new McpListener(requests, await SocketFile.listen(requests.server, place))
  }

  isThere(): Promise<boolean> {
    return this.#file.isThere()
  }

  removeFile(): Promise<void> {
    return this.#file.remove()
  }

  change(route: McpSessionRoute): void {
    this.#requests.change(route)
  }

  /** Stops listening and waits for what is under way; when `signal` is aborted, cuts it. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#requests.server.close()
    await this.#requests.drain(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.remove()
    await this.drain(AbortSignal.abort())
  }
}
