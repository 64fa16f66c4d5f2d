import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import { once } from 'node:events'
import { type Duplex, duplexPair } from 'node:stream'
import { SessionSecrets, type SessionWay } from '../injection/session-secrets.ts'
import type { Logger } from '../logger.ts'
import { OneRequestAtATime } from '../one-request-at-a-time.ts'
import { createStrictServer, type Unreadable } from '../strict-server.ts'
import type { CertificateAuthority } from '../tls/certificate-authority.ts'
import type { Vaults } from '../vaults/vaults.ts'
import { depart, type DepartureParts } from './departure.ts'
import type { Trust } from './dial-tls.ts'
import { endTls } from './end-tls.ts'
import { forwardHttp, untilClosed } from './forward-http.ts'
import { KeptLine } from './host-line.ts'
import { defaultLimits, join, type Passage, type PassageLimits, Passages } from './passage.ts'
import type { Target } from './policy.ts'
import { EgressRefusal } from './refusal.ts'
import { checkUpgrade, malformed, readForwarded } from './request-head.ts'
import { type InnerHttp, serveTunnel } from './tunnel.ts'
import { UNREAD_BYTES } from './unread-bytes.ts'
import { type Asked, WayOut, type WayOutParts } from './way-out.ts'
import { forwardWebSocket } from './web-socket.ts'

export interface EgressParts extends WayOutParts {
  readonly logger: Logger
  readonly vaults: Vaults
  /** As which TLS ends here. */
  readonly authority: CertificateAuthority
  /** By which hosts are judged where TLS begins again. */
  readonly trust: () => Trust
  readonly limits?: PassageLimits
}

/** More than passages: connections are kept for the next request. */
const MAX_CONNECTIONS = 256

/** One session's HTTP proxy. Whatever comes is refused, unless it is understood and allowed; whatever fails ends the request. */
export class EgressProxy {
  readonly server: Server
  readonly #way: WayOut
  readonly #secrets: SessionSecrets
  readonly #departure: DepartureParts
  readonly #authority: CertificateAuthority
  readonly #logger: Logger
  readonly #limits: PassageLimits
  readonly #passages: Passages
  readonly #sessionId: string
  /** Connections on which HTTP is spoken inside of a tunnel, each with the host that it leads to. */
  readonly #inner = new WeakMap<Duplex, InnerHttp>()
  readonly #requests = new OneRequestAtATime()

  constructor(parts: EgressParts, sessionId: string, way: SessionWay) {
    this.#way = new WayOut(parts, sessionId, way)
    this.#secrets = new SessionSecrets(parts, sessionId, way)
    this.#authority = parts.authority
    this.#logger = parts.logger
    this.#limits = parts.limits ?? defaultLimits
    const { idleMs } = this.#limits
    this.#departure = { way: this.#way, secrets: this.#secrets, trust: parts.trust, idleMs }
    this.#passages = new Passages(this.#limits)
    this.#sessionId = sessionId
    this.server = this.#createServer()
  }

  /** What is under way to where the new policy does not lead is cut. */
  change(way: SessionWay): void {
    this.#way.change(way)
    this.#secrets.change(way)
    this.#passages.cutAllBut((target) => this.#way.permits(target))
  }

  /** Waits for what is under way; when `signal` is aborted, cuts it. */
  async drain(signal: AbortSignal): Promise<void> {
    await this.#passages.drain(signal)
    this.server.closeAllConnections()
  }

  #createServer(): Server {
    const server = createStrictServer({
      requestTimeout: 3_600_000,
      keepAliveTimeout: 60_000,
      maxConnections: MAX_CONNECTIONS,
      // Refused with the others, in the words of the proxy.
      requireHostHeader: false,
      highWaterMark: UNREAD_BYTES,
      refuse: (what, client) => void this.#refuseBytes(what, client),
    })
    server.timeout = this.#limits.idleMs
    server.on('request', (request, response) => void this.#serveRequest(request, response))
    server.on('upgrade', (request, client, head) => void this.#serveUpgrade(request, client, head))
    server.on('connect', (request, client, head) => void this.#serveConnect(request, client, head))
    return server
  }

  async #serveRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request
    if (!this.#requests.begins(socket, response)) return
    const refuse = (refusal: EgressRefusal): void => {
      if (response.headersSent) return void response.destroy()
      // Nothing of an answer that was begun is left in it.
      response.writeHead(refusal.status, STATUS_CODES[refusal.status], refusal.headers).end(refusal.body)
    }
    const inner = this.#inner.get(socket)
    await this.#attempt(spokenIn(inner), refuse, async (passage) => {
      response.on('close', () => passage[Symbol.dispose]())
      this.#checkCredential(request, inner)
      if (request.headers.upgrade !== undefined) checkUpgrade(request)
      const forwarded = readForwarded(request, inner)
      const departure = await depart(this.#departure, { request, forwarded, inner, passage })
      const { signal } = passage
      await forwardHttp({ request, response, forwarded, ...departure, signal, limits: this.#limits })
      await untilClosed(response)
    })
  }

  async #serveUpgrade(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    if (!this.#requests.admits(client)) return
    client.on('error', () => undefined)
    const inner = this.#inner.get(client)
    await this.#attempt(spokenIn(inner), answerOn(client), async (passage) => {
      client.once('close', () => passage[Symbol.dispose]())
      this.#checkCredential(request, inner)
      checkUpgrade(request)
      const forwarded = readForwarded(request, inner)
      const departure = await depart(this.#departure, { request, forwarded, inner, passage })
      const { signal } = passage
      await forwardWebSocket({ request, client, head, forwarded, ...departure, signal, limits: this.#limits })
    })
  }

  async #serveConnect(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    if (!this.#requests.admits(client)) return
    client.on('error', () => undefined)
    await this.#attempt('connect', answerOn(client), async (passage) => {
      client.once('close', () => passage[Symbol.dispose]())
      if (this.#inner.has(client)) throw new EgressRefusal(405, 'method', 'a tunnel does not lead into another')
      this.#checkCredential(request, undefined)
      const parts = {
        way: this.#way,
        limits: this.#limits,
        readHttp: this.#readHttp.bind(this),
        endsHere: ({ host, port }: Target) => port === 443 && this.#secrets.isBound(host),
        readTls: this.#readTls.bind(this),
      }
      await serveTunnel(parts, { request, client, head, passage })
    })
  }

  /** Resolves when the connection has closed. */
  async #readHttp(client: Duplex, first: Buffer, inner: InnerHttp): Promise<void> {
    // The server takes a connection from its first byte on, and those have been read.
    const [connection, rest] = duplexPair()
    this.#inner.set(connection, inner)
    this.server.emit('connection', connection)
    rest.write(first)
    try {
      await join(client, rest, { signal: inner.passage.signal, idleMs: this.#limits.idleMs })
    } finally {
      // The end of one half does not reach an answer that waits to be read on the other.
      connection.destroy()
    }
  }

  /** Resolves when the connection has closed. */
  async #readTls(client: Duplex, first: Buffer, inner: InnerHttp): Promise<void> {
    const { target, passage } = inner
    const signal = AbortSignal.any([passage.signal, AbortSignal.timeout(this.#limits.helloMs)])
    const connection = await endTls(client, first, { context: this.#authority.contextFor(target.host), signal })
    if (connection === undefined) return
    const cut = (): void => void connection.destroy()
    passage.signal.addEventListener('abort', cut, { once: true })
    if (passage.signal.aborted) cut()
    using kept = new KeptLine()
    this.#inner.set(connection, { ...inner, kept })
    this.server.emit('connection', connection)
    if (!connection.closed) await once(connection, 'close').catch(() => undefined)
  }

  #checkCredential(request: IncomingMessage, inner: InnerHttp | undefined): void {
    if (inner !== undefined || this.#way.knows(request.headers['proxy-authorization'])) return
    throw new EgressRefusal(407, 'credential', 'the password of the session’s proxy is needed')
  }

  /** Runs one passage. Never rejects; a failure that is no refusal is one of ours, and refuses, too. */
  async #attempt(
    protocol: Asked['protocol'],
    answer: (refusal: EgressRefusal) => void,
    work: (passage: Passage) => Promise<void>,
  ): Promise<void> {
    let passage: Passage | undefined
    try {
      passage = this.#passages.begin()
      await work(passage)
    } catch (error) {
      // Cut from this side, or left by the client.
      if (passage?.signal.aborted === true) answer(new EgressRefusal(503, 'limit', 'the connection was cut'))
      else answer(await this.#toRefusal(error, { protocol, target: passage?.target }))
    } finally {
      passage?.[Symbol.dispose]()
    }
  }

  async #toRefusal(error: unknown, asked: Asked): Promise<EgressRefusal> {
    if (error instanceof EgressRefusal) {
      // That nobody answers is no decision.
      return error.isOnRecord || error.reason === 'unreachable' ? error : await this.#way.refuse(asked, error)
    }
    const refusal = new EgressRefusal(500, 'internal', 'the gateway has failed; its log has more')
    this.#logger.warn({ err: error, session: this.#sessionId }, 'a way out has failed')
    return await this.#way.refuse(asked, refusal)
  }

  async #refuseBytes(what: Unreadable, client: Duplex): Promise<void> {
    const refusal =
      what === 'too_large'
        ? new EgressRefusal(431, 'limit', 'the headers of the request are too large')
        : malformed('the request is malformed')
    const inner = this.#inner.get(client)
    await this.#way.refuse({ protocol: spokenIn(inner), target: inner?.target }, refusal)
    client.end(refusal.answer)
  }
}

function spokenIn(inner: InnerHttp | undefined): Asked['protocol'] {
  return inner?.isSecure === true ? 'tls' : 'http'
}

function answerOn(client: Duplex): (refusal: EgressRefusal) => void {
  return (refusal) => {
    if (client.writable) client.end(refusal.answer)
    else client.destroy()
  }
}
