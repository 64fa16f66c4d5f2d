import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { SessionRoute } from '@berth/protocol/gateway'
import type { Accounts, Payer, Reservation } from './accounts.ts'
import type { Admission } from './admission.ts'
import type { Admitted, Endpoint } from './admit.ts'
import { BodyBudget, readBody } from './body.ts'
import { forward, type ForwardParts } from './forward.ts'
import { checkFraming, checkJsonBody } from './headers.ts'
import { OneRequestAtATime } from './one-request-at-a-time.ts'
import { Refusal } from './refusal.ts'

export interface SessionParts extends ForwardParts {
  readonly newId: () => string
  readonly bodies: BodyBudget
  readonly admission: Admission
  readonly accounts: Accounts
  /** Requests of one session under way at once. */
  readonly concurrency: number
}

/** Bodies of one session in memory at once: four of the largest. */
const SESSION_BODY_BYTES = 128 * 1024 * 1024

/** Every target there is; compared as written, so that there is nothing to normalise. */
const targets: Readonly<Record<string, Endpoint>> = {
  '/v1/messages': 'messages',
  '/v1/messages?beta=true': 'messages',
  '/v1/messages/count_tokens': 'count_tokens',
  '/v1/messages/count_tokens?beta=true': 'count_tokens',
}

/** Answers what comes through one session's socket. The session is a property of the socket; nothing a request says can change it. */
export class SessionRequests {
  readonly sessionId: string
  route: SessionRoute
  readonly #parts: SessionParts
  readonly #running = new Set<AbortController>()
  readonly #requests = new OneRequestAtATime()
  #idle = Promise.withResolvers<void>()
  readonly #bodies: BodyBudget
  #draining = false
  /** Entries in the log that the sandbox caused. */
  #mishaps = 0

  constructor(parts: SessionParts, sessionId: string, route: SessionRoute) {
    this.#parts = parts
    this.sessionId = sessionId
    this.route = route
    this.#bodies = new BodyBudget(SESSION_BODY_BYTES, parts.bodies)
  }

  get payer(): Payer {
    return {
      sessionId: this.sessionId,
      workspaceId: this.route.workspace_id,
      budget: () => this.route.budget,
    }
  }

  /** Refuses new requests from now on; resolves when none is under way. */
  async drain(): Promise<void> {
    this.#draining = true
    if (this.#running.size > 0) await this.#idle.promise
  }

  /** Cuts what is under way. */
  abort(): void {
    for (const running of this.#running) running.abort(new Refusal(503, 'The gateway is going away', { retry: true }))
  }

  /** Never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.#requests.begins(request.socket, response)) return
    const running = new AbortController()
    this.#running.add(running)
    response.on('error', () => running.abort(new Error('The sandbox has gone')))
    response.on('close', () => running.abort(new Error('The sandbox has gone')))
    const requestId = this.#parts.newId()
    try {
      await this.#serve(request, response, { requestId, signal: running.signal })
      if (!response.writableFinished && !response.destroyed) await once(response, 'close')
    } catch (error) {
      this.#refuse(response, error, requestId)
    } finally {
      this.#running.delete(running)
      if (this.#running.size === 0) {
        this.#idle.resolve()
        this.#idle = Promise.withResolvers()
      }
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse, given: { requestId: string; signal: AbortSignal }) {
    checkFraming(request)
    const target = request.url ?? ''
    const endpoint = Object.hasOwn(targets, target) ? targets[target] : undefined
    if (endpoint === undefined)
      throw new Refusal(404, 'The gateway serves POST /v1/messages and /v1/messages/count_tokens only')
    if (request.method !== 'POST') throw new Refusal(405, 'Only POST')
    checkJsonBody(request.headers)
    if (this.#draining) throw new Refusal(503, 'The gateway is going away', { retry: true })
    if (this.#running.size > this.#parts.concurrency) {
      const text = `More than ${this.#parts.concurrency} model requests of this session at once`
      throw new Refusal(429, text, { retry: true, retryAfter: '1' })
    }
    const { route } = this
    using body = await readBody(request, this.#bodies)
    const { sessionId } = this
    const admitted = await this.#parts.admission.admit({ sessionId, bytes: body.bytes, endpoint, policy: route })
    given.signal.throwIfAborted()
    using reservation = await this.#reserve(endpoint, admitted, given.signal)
    await forward(this.#parts, {
      id: given.requestId,
      sessionId,
      workspaceId: route.workspace_id,
      agentId: route.agent_id,
      reservation,
      model: admitted.model,
      endpoint,
      target,
      headers: request.headers,
      serverTools: route.server_tools,
      admitted,
      response,
      signal: given.signal,
    })
  }

  /** A token has at least one byte: the body's length is no less than the prompt's. */
  #reserve(endpoint: Endpoint, admitted: Admitted, signal: AbortSignal): Promise<Reservation> {
    const { accounts } = this.#parts
    if (endpoint !== 'messages') return Promise.resolve(accounts.free)
    const { answering: models, maxTokens, body } = admitted
    return accounts.reserve(this.payer, { models, promptTokens: body.length, maxTokens, signal })
  }

  #refuse(response: ServerResponse, error: unknown, requestId: string): void {
    const refusal = error instanceof Refusal ? error : new Refusal(500, 'The gateway has failed; its log has more')
    if (response.destroyed) return this.#note(requestId, { reason: 'the sandbox has gone' })
    this.#note(requestId, { status: refusal.status, reason: refusal.message, cut: response.headersSent })
    if (refusal !== error)
      this.#parts.logger.error({ session: this.sessionId, request: requestId, err: error }, 'failed')
    if (response.headersSent) {
      response.destroy()
      return
    }
    const closing = refusal.status === 413 || refusal.status === 503
    response.writeHead(refusal.status, { ...refusal.headers(requestId), ...(closing ? { connection: 'close' } : {}) })
    response.end(refusal.body(requestId))
  }

  /** Code in a sandbox can be refused as often as it likes: of its mishaps the 1st, 2nd, 4th, 8th and so on are logged. */
  #note(request: string, entry: { reason: string; status?: number; cut?: boolean }): void {
    const count = ++this.#mishaps
    if ((count & (count - 1)) === 0)
      this.#parts.logger.info({ session: this.sessionId, request, count, ...entry }, 'refused or cut')
  }
}
