import { chmod, lchown, lstat, rename, rm, unlink } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { BerthError } from '@berth/protocol/error'
import type { SessionRoute } from '@berth/protocol/gateway'
import { SessionRequests, type SessionParts } from './session-requests.ts'

/** `sun_path` holds 108 bytes, the last of them zero. */
const MAX_SOCKET_PATH = 107

/** One session's socket and the HTTP server behind it. */
export class SessionListener implements AsyncDisposable {
  readonly requests: SessionRequests
  readonly #server: Server
  readonly #path: string
  #inode: number | undefined

  private constructor(server: Server, requests: SessionRequests) {
    this.#server = server
    this.requests = requests
    this.#path = requests.route.socket_path
  }

  /**
   * Listens at `route.socket_path`, replacing whatever socket stands there in one step: a client finds the old or the new one, never
   * none. Leaves nothing when it throws (`invalid_request`: the path cannot be listened on; `unavailable`: not by this user).
   */
  static async open(parts: SessionParts, sessionId: string, route: SessionRoute): Promise<SessionListener> {
    const requests = new SessionRequests(parts, sessionId, route)
    const listener = new SessionListener(createStrictServer(requests), requests)
    const temporary = join(dirname(route.socket_path), `.${parts.newId().slice(-6)}`)
    for (const path of [route.socket_path, temporary]) checkSocketPath(path)
    try {
      await listen(listener.#server, temporary)
      await chmod(temporary, 0o600)
      await lchown(temporary, route.owner_uid, route.owner_uid)
      listener.#inode = (await lstat(temporary)).ino
      await rename(temporary, route.socket_path)
    } catch (error) {
      listener.#server.close()
      await rm(temporary, { force: true })
      throw explain(error, route)
    }
    return listener
  }

  /** False when the socket has been removed or replaced by somebody else. */
  async reachable(): Promise<boolean> {
    try {
      return (await lstat(this.#path)).ino === this.#inode
    } catch {
      return false
    }
  }

  /** Takes another route with the same socket path and owner; requests under way keep the old one. */
  change(route: SessionRoute): void {
    this.requests.route = route
  }

  /** Stops listening and waits for the requests under way; when `signal` is aborted, cuts them. The socket's file stays. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#server.close()
    const cut = () => this.requests.abort()
    if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    await this.requests.drain()
    signal.removeEventListener('abort', cut)
    this.#server.closeAllConnections()
  }

  /** For a listener whose place has been taken: removes its socket if it stands elsewhere, and lets requests under way end. */
  async retire(): Promise<void> {
    if (await this.reachable()) await unlink(this.#path)
    await this.drain(new AbortController().signal)
  }

  /** Cuts everything and removes the socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (await this.reachable()) await unlink(this.#path)
    await this.drain(AbortSignal.abort())
  }
}

function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path)
  if (!path.startsWith('/') || bytes > MAX_SOCKET_PATH || path.includes('\0')) {
    throw new BerthError(
      'invalid_request',
      `socket_path: must be absolute and at most ${MAX_SOCKET_PATH} bytes, is ${bytes}`,
    )
  }
}

function listen(server: Server, path: string): Promise<AddressInfo | string | null> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve(server.address())
    })
  })
}

function explain(error: unknown, route: SessionRoute): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error
  switch (error.code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EACCES':
      return new BerthError(
        'invalid_request',
        `socket_path: cannot listen in ${dirname(route.socket_path)} (${error.code})`,
        {
          cause: error,
        },
      )
    case 'EPERM':
      return new BerthError('unavailable', `owner_uid: the gateway may not give the socket to uid ${route.owner_uid}`, {
        cause: error,
      })
    default:
      return error
  }
}

function createStrictServer(requests: SessionRequests): Server {
  const server = createServer({
    maxHeaderSize: 32 * 1024,
    headersTimeout: 15_000,
    requestTimeout: 120_000,
    // Longer than any client keeps a connection, so that it is never the server who closes one just as it is used.
    keepAliveTimeout: 600_000,
    connectionsCheckingInterval: 5_000,
    requireHostHeader: true,
    insecureHTTPParser: false,
  })
  server.maxHeadersCount = 0
  server.maxConnections = 64
  server.on('request', (request, response) => void requests.handle(request, response))
  server.on('connect', (_request, socket) => socket.end(bare('405 Method Not Allowed', 'CONNECT is not available')))
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy()
      return
    }
    const tooLarge = error.code === 'HPE_HEADER_OVERFLOW'
    socket.end(bare(tooLarge ? '431 Request Header Fields Too Large' : '400 Bad Request', 'The request is malformed'))
  })
  return server
}

/** An answer to what never became a request. */
function bare(status: string, message: string): string {
  const body = JSON.stringify({ type: 'error', error: { type: 'invalid_request_error', message }, request_id: null })
  const head = `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\nx-should-retry: false\r\nconnection: close\r\n`
  return `${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}
