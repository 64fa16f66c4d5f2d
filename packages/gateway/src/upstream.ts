import http, {
  type ClientRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestOptions,
} from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import type { UpstreamConfig } from './config.ts'
import { Refusal } from './refusal.ts'

export interface UpstreamCall {
  /** Path and query below the base URL, from a closed list. */
  readonly target: string
  readonly headers: OutgoingHttpHeaders
  readonly body: Buffer
  /** Called when the whole of it has been sent. */
  readonly sent?: () => void
}

/**
 * What is read lands here, from whatever connection: HTTP's parser is done with it before anything else is read, and keeps a copy of what
 * it gives on. A buffer of its own for every read would be twice the garbage.
 */
const READ_BYTES = 64 * 1024

/** The model API, over kept connections. */
export class Upstream implements Disposable {
  readonly config: UpstreamConfig
  readonly #agent: http.Agent
  readonly #options: RequestOptions

  constructor(config: UpstreamConfig) {
    this.config = config
    const { baseUrl, socketPath } = config
    const secure = baseUrl.protocol === 'https:'
    this.#agent = new (secure ? https : http).Agent({
      keepAlive: true,
      maxFreeSockets: 64,
      scheduling: 'lifo',
      ...readInto(Buffer.allocUnsafeSlow(READ_BYTES)),
    })
    const credentials = [baseUrl.username, baseUrl.password].map(decodeURIComponent).join(':')
    this.#options = {
      agent: this.#agent,
      method: 'POST',
      protocol: baseUrl.protocol,
      host: baseUrl.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: baseUrl.port === '' ? (secure ? 443 : 80) : baseUrl.port,
      maxHeaderSize: 64 * 1024,
      ...(credentials === ':' ? {} : { auth: credentials }),
      ...(socketPath === undefined ? {} : { socketPath }),
    }
  }

  /**
   * Sends the call and answers once the head of the response is there. Aborting `signal` ends both at once, the response's body too.
   * Throws a `Refusal` when the upstream cannot be reached or does not answer properly, and what the signal says when it was aborted.
   */
  async send(call: UpstreamCall, signal: AbortSignal): Promise<IncomingMessage> {
    try {
      return await this.#attempt(call, signal)
    } catch (error) {
      // The upstream closed a kept connection just as it was used again: nothing was answered, so a fresh one may try, once.
      if (error instanceof StaleConnection) return await this.#attempt(call, signal)
      throw error
    }
  }

  #attempt(call: UpstreamCall, signal: AbortSignal): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const secure = this.config.baseUrl.protocol === 'https:'
    const request = (secure ? https : http).request({
      ...this.#options,
      path: this.config.baseUrl.pathname.replace(/\/+$/, '') + call.target,
      headers: call.headers,
      signal,
    })
    this.#limitConnect(request, secure)
    if (call.sent !== undefined) request.on('finish', call.sent)
    request.on('response', resolve)
    request.on('upgrade', (_response, socket) => {
      socket.destroy()
      reject(new Refusal(502, 'The model API answered with an upgrade'))
    })
    request.on('error', (error: NodeJS.ErrnoException) => reject(explain(error, request, signal)))
    request.end(call.body)
    return promise
  }

  #limitConnect(request: ClientRequest, secure: boolean): void {
    const timer = setTimeout(() => {
      request.destroy(new Refusal(504, 'The model API could not be connected to in time'))
    }, this.config.connectTimeoutMs)
    request.on('close', () => clearTimeout(timer))
    request.on('socket', (socket) => {
      if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', () => clearTimeout(timer))
      else clearTimeout(timer)
    })
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }
}

/** Option of the connections that an agent makes. */
function readInto(buffer: Buffer): object {
  const callback = function (this: Socket, bytes: number): boolean {
    return this.emit('data', buffer.subarray(0, bytes))
  }
  return { onread: { buffer, callback } }
}

class StaleConnection extends Error {}

function explain(error: NodeJS.ErrnoException, request: ClientRequest, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  if (error instanceof Refusal) return error
  if (request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')) return new StaleConnection()
  return new Refusal(502, `The model API cannot be reached (${error.code ?? 'connection failed'})`)
}
