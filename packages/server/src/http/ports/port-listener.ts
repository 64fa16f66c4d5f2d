/**
 * The listener for ports of sandboxes. It serves every one of them under an origin of its own and nothing of the API; what is not for a port is
 * refused. Docs: docs/guide/ports.md.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { BerthError, errorCodes, isBerthError } from '@berth/protocol'
import { retryAfterOf } from '@berth/protocol/error'
import type { Logger } from 'pino'
import type { PortGrant } from '../../domain/port-token.ts'
import { type Access, type AccessDeps, admit, type Asked, cookieName } from './port-access.ts'
import { passRequest, passUpgrade, type Passage } from './forward.ts'
import type { KeyWatch } from '../key-watch.ts'
import { sourceOf } from '../source.ts'
import { forServer, pairsOf, valuesOf } from './port-headers.ts'
import { takeToken } from './target.ts'

const LIMITS = { maxHeaderSize: 32 * 1024, headersTimeout: 20_000, requestTimeout: 0, keepAliveTimeout: 5_000 }
const MAX_CONNECTIONS = 4_096

export interface PortListenerDeps extends AccessDeps {
  readonly keys: KeyWatch
  readonly logger: Logger
}

interface Upgrade {
  readonly socket: Socket
  readonly head: Buffer
}

type Respond = () => ServerResponse

/** Closing it ends what it serves. */
export class PortListener implements AsyncDisposable {
  readonly #deps: PortListenerDeps
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  /** `server` listens, or is about to; this alone answers on it. */
  constructor(server: Server, deps: PortListenerDeps) {
    this.#deps = deps
    this.#server = server
    server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    server.on('request', (incoming, response) => void this.#serve(incoming, () => response))
    server.on('upgrade', (incoming, socket, head) => {
      if (!(socket instanceof Socket)) return socket.destroy()
      socket.on('error', () => undefined)
      let response: ServerResponse | undefined
      const respond = (): ServerResponse => (response ??= responseOn(incoming, socket))
      return void this.#serve(incoming, respond, { socket, head })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  async #serve(incoming: IncomingMessage, respond: Respond, upgrade?: Upgrade): Promise<void> {
    try {
      await this.#pass(incoming, respond, upgrade)
    } catch (error) {
      if (!isBerthError(error)) this.#deps.logger.error({ err: error }, 'a request to a port failed')
      if (upgrade?.socket.destroyed !== true) refuse(respond(), error)
    }
  }

  async #pass(incoming: IncomingMessage, respond: Respond, upgrade: Upgrade | undefined): Promise<void> {
    const { asked, path } = this.#read(incoming, upgrade)
    const gone = new AbortController()
    const leave = (): void => gone.abort(new BerthError('unavailable', 'the client has gone'))
    incoming.socket.once('close', leave)
    try {
      const access = await admit(this.#deps, asked)
      using _watched = this.#endWithKey(access.keyId, incoming, upgrade)
      if (asked.token !== undefined && access.grant !== undefined && upgrade === undefined && isPage(asked)) {
        return this.#welcome(respond(), { asked, path, grant: access.grant })
      }
      const passage = await this.#reach(incoming, { asked, path, access }, gone.signal)
      const { grant } = access
      const now = this.#deps.clock.now()
      if (upgrade === undefined) await passRequest(passage, respond())
      else await passUpgrade(passage, { ...upgrade, respond, grant, now })
    } finally {
      incoming.socket.off('close', leave)
      // What of its body nobody took is in the way of the next request.
      incoming.resume()
    }
  }

  /** A WebSocket outlives its request. */
  #endWithKey(keyId: string, { socket }: IncomingMessage, upgrade: Upgrade | undefined): Disposable | undefined {
    const watched = this.#deps.keys.watch(keyId, () => socket.destroy())
    if (upgrade === undefined) return watched
    socket.once('close', () => watched[Symbol.dispose]())
    return undefined
  }

  async #reach(
    incoming: IncomingMessage,
    { asked, path, access }: { asked: Asked; path: string; access: Access },
    signal: AbortSignal,
  ): Promise<Passage> {
    const { engine, addresses } = this.#deps
    const { sessionId, port, host } = asked
    const { workspaceId, secret } = access
    const connection = await engine.ports.connect({ workspaceId, sessionId, port }, signal)
    if (signal.aborted) connection.destroy()
    signal.throwIfAborted()
    const cookie = cookieName(addresses)
    const headers = forServer(asked.headers, { secret, cookie, host, isSecure: addresses.isSecure })
    return { incoming, path, headers, connection, cookie, port }
  }

  #read(incoming: IncomingMessage, upgrade: Upgrade | undefined): { asked: Asked; path: string } {
    const headers = pairsOf(incoming.rawHeaders)
    const [host = '', more] = valuesOf(headers, 'host')
    const target = more === undefined ? this.#deps.addresses.parse(host) : undefined
    if (target === undefined) throw new BerthError('invalid_request', 'Host: names no port of a session')
    if (valuesOf(headers, 'service-worker').length > 0) {
      throw new BerthError('forbidden', 'pages of a sandbox may not leave a service worker behind')
    }
    const { method = '' } = incoming
    if (upgrade !== undefined && !isWebSocket(method, headers)) {
      throw new BerthError('invalid_request', 'upgrade: only to a WebSocket, by GET, without a body')
    }
    const { path, token } = takeToken(incoming.url ?? '')
    const source = sourceOf(incoming.socket.remoteAddress)
    return { asked: { ...target, method, host, headers, token, source }, path }
  }

  /** The URL has done its work: the browser goes on with a cookie, and without the token in its address. */
  #welcome(response: ServerResponse, { asked, path, grant }: { asked: Asked; path: string; grant: PortGrant }): void {
    const { addresses, clock } = this.#deps
    const seconds = Math.max(1, Math.floor((grant.expires - clock.now().getTime()) / 1000))
    const attributes = `Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax${addresses.isSecure ? '; Secure' : ''}`
    response.writeHead(303, {
      location: addresses.origin(asked.host) + path,
      'set-cookie': `${cookieName(addresses)}=${asked.token}; ${attributes}`,
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
    })
    response.end()
  }
}

export function createPortServer(): Server {
  const server = createServer(LIMITS)
  server.maxConnections = MAX_CONNECTIONS
  return server
}

/** A browser that shows it, rather than a program or a part of a page, which have no use for a cookie. */
function isPage({ method, headers }: Asked): boolean {
  const [dest] = valuesOf(headers, 'sec-fetch-dest')
  const [accept = ''] = valuesOf(headers, 'accept')
  return method === 'GET' && (dest === undefined ? accept.includes('text/html') : /^(?:document|iframe)$/.test(dest))
}

function isWebSocket(method: string, headers: Asked['headers']): boolean {
  const hasBody = ['content-length', 'transfer-encoding'].some((name) => valuesOf(headers, name).length > 0)
  return method === 'GET' && !hasBody && valuesOf(headers, 'upgrade').join().toLowerCase() === 'websocket'
}

/** For a request that asked for an upgrade and does not get it. */
function responseOn(incoming: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(incoming)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.once('finish', () => socket.end())
  return response
}

function refuse(response: ServerResponse, error: unknown): void {
  if (response.headersSent) return void response.destroy()
  const known = isBerthError(error) ? error : new BerthError('internal', 'internal server error')
  const { status, retryable } = errorCodes[known.code]
  const retryAfter = retryAfterOf(known)
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    'x-berth-error': known.code,
    'x-should-retry': String(retryable),
    ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
    // Its body may not have been read.
    connection: 'close',
  })
  response.end(`${known.message}\n`)
}
