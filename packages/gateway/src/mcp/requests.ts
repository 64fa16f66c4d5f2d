import { type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { SessionRoute } from '@berth/protocol/gateway'
import { BodyBudget, readBody } from '../body.ts'
import type { Trust } from '../egress/dial-tls.ts'
import { untilClosed } from '../egress/forward-http.ts'
import { type Passage, type PassageLimits, Passages } from '../egress/passage.ts'
import type { Target } from '../egress/policy.ts'
import { EgressRefusal } from '../egress/refusal.ts'
import { WayOut, type WayOutParts } from '../egress/way-out.ts'
import type { Logger } from '../logger.ts'
import { OneRequestAtATime } from '../one-request-at-a-time.ts'
import { createStrictServer } from '../strict-server.ts'
import type { Vaults } from '../vaults/vaults.ts'
import { type AnswerLimits, passOn } from './answer.ts'
import { type Answered, ask, type Question, type Way } from './ask.ts'
import type { BearerTokens } from './bearer-tokens.ts'
import { readCall, toServer } from './call.ts'
import { orAborted } from './or-aborted.ts'
import { type Place, readPlace } from './place.ts'
import { asMcpRefusal, McpRefusal, needsToken } from './refusal.ts'
import { redactions } from './scrub.ts'

export interface McpLimits extends PassageLimits, AnswerLimits {}

export interface McpParts extends WayOutParts {
  readonly vaults: Vaults
  readonly tokens: BearerTokens
  readonly trust: () => Trust
  /** Of all sessions together. */
  readonly bodies: BodyBudget
  readonly logger: Logger
  readonly limits?: McpLimits
}

const MEBI = 1024 * 1024
/** Of the bodies of one session's requests under way. */
const SESSION_BODIES = 32 * MEBI
const MAX_CONNECTIONS = 64

export const defaultLimits: McpLimits = {
  passages: 32,
  idleMs: 600_000,
  lifeMs: 86_400_000,
  helloMs: 10_000,
  bodyBytes: 4 * MEBI,
  answerBytes: 8 * MEBI,
  eventBytes: 8 * MEBI,
}

export type McpSessionRoute = Pick<SessionRoute, 'workspace_id' | 'vaults'> & {
  readonly mcp: NonNullable<SessionRoute['mcp']>
}

/** What is asked of a server, and the secrets that its answer must not have. */
interface Sent {
  readonly answered: Answered
  readonly token: string | undefined
}

/** One session's requests to its remote MCP servers. Whatever fails is answered with what kind of failure it was. */
export class McpRequests {
  readonly server: Server
  readonly #parts: McpParts
  readonly #limits: McpLimits
  readonly #way: WayOut
  readonly #passages: Passages
  readonly #sessionId: string
  readonly #bodies: BodyBudget
  readonly #requests = new OneRequestAtATime()
  #route: McpSessionRoute
  #places: ReadonlyMap<string, ReturnType<typeof readPlace>>

  constructor(parts: McpParts, sessionId: string, route: McpSessionRoute) {
    this.#parts = parts
    this.#limits = parts.limits ?? defaultLimits
    this.#way = new WayOut(parts, sessionId, { policy: route.mcp.policy, ports: 'named' })
    this.#passages = new Passages(this.#limits)
    this.#sessionId = sessionId
    this.#bodies = new BodyBudget(SESSION_BODIES, parts.bodies)
    this.#route = route
    this.#places = placesOf(route)
    this.server = this.#createServer()
  }

  /** What is under way to where the new route does not lead is cut. */
  change(route: McpSessionRoute): void {
    this.#route = route
    this.#places = placesOf(route)
    this.#way.change({ policy: route.mcp.policy, ports: 'named' })
    this.#passages.cutAllBut((target) => this.#leadsTo(target) && this.#way.permits(target))
  }

  /** Waits for what is under way; when `signal` is aborted, cuts it. */
  async drain(signal: AbortSignal): Promise<void> {
    await this.#passages.drain(signal)
    this.server.closeAllConnections()
  }

  #createServer(): Server {
    const server = createStrictServer({
      requestTimeout: 120_000,
      keepAliveTimeout: 600_000,
      maxConnections: MAX_CONNECTIONS,
      refuse: (what, client) => client.end(bare(unreadable[what])),
    })
    // Longer than a server may take, which is to be told in an answer.
    server.timeout = 2 * this.#limits.idleMs + 60_000
    server.on('request', (request, response) => void this.#serve(request, response))
    server.on('connect', (_request, client) => client.end(bare(new McpRefusal(405, 'refused', 'this is no proxy'))))
    return server
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.#requests.begins(request.socket, response)) return
    let passage: Passage | undefined
    try {
      const begun = this.#passages.begin()
      passage = begun
      response.on('close', () => begun[Symbol.dispose]())
      await this.#pass(request, response, begun)
      await untilClosed(response)
    } catch (error) {
      const refusal = await this.#toRefusal(error, passage)
      if (response.headersSent) response.destroy()
      else response.writeHead(refusal.status, refusal.headers).end(refusal.body)
    } finally {
      passage?.[Symbol.dispose]()
    }
  }

  async #pass(request: IncomingMessage, response: ServerResponse, passage: Passage): Promise<void> {
    const place = this.#placeOf(readCall(request))
    passage.target = place.target
    const sent = await this.#send(place, request, passage.signal)
    using answered = sent.answered
    const { host } = place.target
    const status = answered.incoming.statusCode ?? 0
    if (status === 401 || status === 403) throw needsToken(refusalOf(host, status, sent.token))
    await passOn(answered.incoming, response, { secrets: redactions([sent.token]), limits: this.#limits, host })
  }

  /** The body is let go as soon as there is an answer, which may take its time. */
  async #send(place: Place, request: IncomingMessage, signal: AbortSignal): Promise<Sent> {
    using body = await readBody(request, this.#bodies, this.#limits.bodyBytes)
    const asked = { protocol: 'mcp' as const, target: place.target }
    const addresses = await this.#way.addressesOf(asked)
    const { method = '' } = request
    const question = { place, method, headers: toServer(request), body: method === 'POST' ? body.bytes : undefined }
    const way = { addresses, trust: this.#parts.trust(), signal, meter: this.#way.meter(asked) }
    return await this.#ask(question, { ...way, idleMs: this.#limits.idleMs })
  }

  /** With the token as it is at this moment; where the server refuses it and there is another one, once more with that. */
  async #ask(question: Question, way: Way): Promise<Sent> {
    const { tokens, vaults } = this.#parts
    const held = vaults.credentialFor(this.#route, question.place.url)
    if (held === undefined) return { answered: await ask(question, way), token: undefined }
    const token = await orAborted(tokens.tokenFor(held), way.signal)
    const answered = await ask(withToken(question, token), way)
    if (answered.incoming.statusCode !== 401) return { answered, token }
    answered[Symbol.dispose]()
    const another = await orAborted(tokens.tokenInsteadOf(token, held), way.signal)
    if (another === undefined) throw needsToken(refusalOf(question.place.target.host, 401, token))
    return { answered: await ask(withToken(question, another), way), token: another }
  }

  #placeOf(name: string): Place {
    const place = this.#places.get(name)
    if (place === undefined) throw new EgressRefusal(404, 'host', `the session has no MCP server ${name}`)
    if ('fault' in place) throw new EgressRefusal(403, 'host', `the URL of the MCP server ${name} ${place.fault}`)
    return place
  }

  #leadsTo({ host, port }: Target): boolean {
    return [...this.#places.values()].some(
      (place) => 'target' in place && place.target.host === host && place.target.port === port,
    )
  }

  async #toRefusal(error: unknown, passage: Passage | undefined): Promise<McpRefusal> {
    if (passage?.signal.aborted === true) return new McpRefusal(503, 'connection', 'the connection was cut')
    const asked = { protocol: 'mcp' as const, target: passage?.target }
    if (
      error instanceof EgressRefusal &&
      !error.isOnRecord &&
      error.reason !== 'unreachable' &&
      error.reason !== 'certificate'
    ) {
      await this.#way.refuse(asked, error)
    }
    const refusal = asMcpRefusal(error)
    if (refusal !== undefined) return refusal
    this.#parts.logger.warn({ err: error, session: this.#sessionId }, 'a request to an MCP server has failed')
    return new McpRefusal(500, 'connection', 'the gateway has failed; its log has more')
  }
}

function placesOf({ mcp }: McpSessionRoute): ReadonlyMap<string, ReturnType<typeof readPlace>> {
  return new Map(mcp.servers.map(({ name, url }) => [name, readPlace(url)]))
}

function withToken(question: Question, token: string): Question {
  return { ...question, headers: [...question.headers, 'Authorization', `Bearer ${token}`] }
}

function refusalOf(host: string, status: number, token: string | undefined): string {
  const what = token === undefined ? 'a request without a token' : 'the token of its credential'
  return `${host} does not accept ${what} (${status})`
}

const unreadable = {
  too_large: new McpRefusal(431, 'limit', 'the headers of the request are too large'),
  malformed: new McpRefusal(400, 'refused', 'the request is malformed'),
} as const

/** An answer to what never became a request. */
function bare(refusal: McpRefusal): string {
  const headers = { ...refusal.headers, 'content-length': Buffer.byteLength(refusal.body) }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${refusal.status} Refused\r\n${lines.join('')}\r\n${refusal.body}`
}
