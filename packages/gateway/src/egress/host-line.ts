import { Agent, type ClientRequest, type IncomingMessage, request, type RequestOptions } from 'node:http'
import type { Socket } from 'node:net'
import { AnswerEnd } from './answer-end.ts'
import type { Trust } from './dial-tls.ts'

/** Most hosts that do not say how long they wait for a next request wait for 5 s or longer. A new connection after a pause costs little. */
const MAX_REST_MS = 4000
/** By which we close earlier than the host: what is sent when it closes is lost. */
const MARGIN_MS = 1000
const MAX_ANSWER_HEADERS = 32 * 1024

interface Given {
  /** Without a byte in either direction while a request is under way. */
  readonly idleMs: number
  /** By which the host's certificate was judged. */
  readonly trust?: Trust
}

/** A connection to a host, over which requests go one after another. */
export class HostLine implements Disposable {
  readonly socket: Socket
  readonly trust: Trust | undefined
  readonly #idleMs: number
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 })
  /** Of the newest request's answer. */
  #end: AnswerEnd | undefined
  #isResting = true
  /** The parser has come to the end of an answer, after the whole request was written, and both sides want to go on. */
  #isFree = false

  /** `socket` is connected, and nothing was asked on it. */
  constructor(socket: Socket, { idleMs, trust }: Given) {
    this.socket = socket
    this.trust = trust
    this.#idleMs = idleMs
    this.#agent.createConnection = () => socket
    this.#agent.keepSocketAlive = () => (this.#isFree = true)
    const close = (): void => void socket.destroy()
    // Whoever has asked nothing is told nothing: what a host says then is not for the next request.
    const takeByte = (chunk: Buffer): void => (this.#isResting ? close() : this.#end?.take(chunk))
    socket.setTimeout(idleMs, close)
    socket.on('data', takeByte).on('end', () => void (this.#isResting && close()))
  }

  /** Can a request go over it? */
  get isReady(): boolean {
    return this.#isResting && this.socket.writable && !this.socket.readableEnded
  }

  /** One that is ready is used. Nothing is sent twice, whatever becomes of it. */
  send(options: Pick<RequestOptions, 'method' | 'path' | 'headers'>): ClientRequest {
    this.#isResting = false
    this.#isFree = false
    this.#end = new AnswerEnd(options.method ?? 'GET')
    this.socket.setTimeout(this.#idleMs)
    const strict = { setHost: false, maxHeaderSize: MAX_ANSWER_HEADERS, insecureHTTPParser: false }
    return request({ ...options, ...strict, agent: this.#agent })
  }

  /** Waits for the next request after this answer was read. False when there cannot be one. */
  rest({ complete, headers }: IncomingMessage): boolean {
    const restMs = restAfter(String(headers['keep-alive'] ?? ''))
    if (!complete || !this.#isFree || this.#end?.isReached !== true || restMs <= 0) return false
    this.#isResting = true
    this.socket.setTimeout(restMs)
    // What the host says from now on, or that it closes, is to be noticed.
    this.socket.resume()
    return this.isReady
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

function restAfter(keepAlive: string): number {
  const seconds = /(?:^|[\s,;])timeout=(?<seconds>\d+)/i.exec(keepAlive)?.groups?.seconds
  return seconds === undefined ? MAX_REST_MS : Math.min(MAX_REST_MS, Number(seconds) * 1000 - MARGIN_MS)
}

/** The line of one tunnel, between two of its requests. */
export class KeptLine implements Disposable {
  #line: HostLine | undefined
  #isOver = false

  /** The one that is kept, when it is good as it was and would be trusted now. It is the caller's from now on. */
  take(trust: Trust): HostLine | undefined {
    const line = this.#line
    this.#line = undefined
    if (line?.isReady === true && line.trust === trust) return line
    line?.[Symbol.dispose]()
    return undefined
  }

  put(line: HostLine): void {
    if (this.#isOver || this.#line !== undefined) line[Symbol.dispose]()
    else this.#line = line
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    this.#line?.[Symbol.dispose]()
  }
}
