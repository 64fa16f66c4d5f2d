import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { z } from 'zod'
import type { Admitted, Endpoint } from './admit.ts'
import { eachPiece } from './each-piece.ts'
import { toSandbox, toUpstream } from './headers.ts'
import { type Asked, RequestRecord, type RecordParts } from './record.ts'
import { Refusal } from './refusal.ts'
import type { Upstream } from './upstream.ts'
import { nothingSeen, readAnswer, type Seen, seenOfCut, UsageScanner } from './usage-scanner.ts'

/** An answer that is not streamed is held whole until its row is on disk. */
const MAX_ANSWER = 32 * 1024 * 1024
const MAX_ERROR = 64 * 1024
/** How often the row of an answer that goes on is brought up to date: a gateway that dies loses no more than that of it. */
const SAW_EVERY_MS = 1_000
/** Bytes of an answer that may wait for a sandbox before the model API has to. */
const AHEAD_BYTES = 256 * 1024

export interface ForwardParts extends RecordParts {
  readonly upstream: Upstream
  readonly scrub: (text: string) => string
}

export interface Call extends Asked {
  readonly endpoint: Endpoint
  /** Path and query as the closed list has them. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
  readonly serverTools: readonly string[]
  readonly admitted: Admitted
  readonly response: ServerResponse
  /** Aborted when the sandbox has gone or the gateway must end. */
  readonly signal: AbortSignal
}

/**
 * Carries one admitted request to the model API and its answer back. Throws a `Refusal` while nothing was answered yet; later failures
 * cut the answer off. The request's row is settled in either case before the sandbox can see the end.
 */
export async function forward(parts: ForwardParts, call: Call): Promise<void> {
  const { apiKey, idleTimeoutMs } = parts.upstream.config
  if (apiKey === undefined) throw noKey()
  const { body } = call.admitted
  const headers = toUpstream(call.headers, { apiKey, bodyBytes: body.length, serverTools: call.serverTools })
  const record = call.endpoint === 'messages' ? new RequestRecord(parts, call) : undefined
  await open(parts, record)
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(new Refusal(504, 'The model API has gone silent')), idleTimeoutMs)
  const relay = new Relay(parts, call, record, timer)
  try {
    const signal = AbortSignal.any([call.signal, timeout.signal])
    const sent = () => (relay.isSent = true)
    await relay.answer(await parts.upstream.send({ target: call.target, headers, body, sent }, signal), signal)
  } catch (error) {
    const isCut = call.response.headersSent || call.signal.aborted
    await record?.settle(isCut ? 'cut' : 'error', isCut ? relay.seenOfCut() : relay.seen)
    throw timeout.signal.aborted ? timeout.signal.reason : error
  } finally {
    clearTimeout(timer)
  }
}

/** The row's first write costs no time, unless the ledger has failed lately: then nothing starts that could not be accounted for. */
async function open(parts: ForwardParts, record: RequestRecord | undefined): Promise<void> {
  const opened = record?.open().catch((error: unknown) => {
    parts.logger.error({ err: error }, 'the ledger does not take a new request')
    throw new Refusal(503, 'Usage cannot be recorded at present', { type: 'overloaded_error' })
  })
  if (parts.ledger.healthy) opened?.catch(() => undefined)
  else await opened
}

class Relay {
  readonly #parts: ForwardParts
  readonly #call: Call
  readonly #record: RequestRecord | undefined
  readonly #idle: NodeJS.Timeout
  seen = nothingSeen()
  /** The model API has the whole request. */
  isSent = false
  #scanner: UsageScanner | undefined
  #sawAt = 0

  constructor(parts: ForwardParts, call: Call, record: RequestRecord | undefined, idle: NodeJS.Timeout) {
    this.#parts = parts
    this.#call = call
    this.#record = record
    this.#idle = idle
  }

  async answer(answer: IncomingMessage, signal: AbortSignal): Promise<void> {
    const status = answer.statusCode ?? 502
    const { 'request-id': id, 'content-type': type = '', 'content-encoding': encoding = 'identity' } = answer.headers
    this.#record?.answered(status, typeof id === 'string' ? id.slice(0, 128) : null)
    if (status !== 200) return await this.#error(answer, status)
    if (encoding !== 'identity') throw this.#unusable(answer, 'an encoded answer')
    if (type.startsWith('text/event-stream')) return await this.#stream(answer, signal)
    if (type.startsWith('application/json')) return await this.#json(answer)
    throw this.#unusable(answer, 'neither JSON nor a stream')
  }

  /** Nothing that the model API has done is for free because the sandbox did not wait for its end. */
  seenOfCut(): Seen {
    const promptBytes = this.isSent ? this.#call.admitted.body.length : 0
    return seenOfCut(this.seen, { promptBytes, tokens: this.#scanner?.passedTokens ?? 0 })
  }

  #unusable(answer: IncomingMessage, what: string): Refusal {
    answer.destroy()
    return new Refusal(502, `The model API answered with ${what}`)
  }

  async #stream(answer: IncomingMessage, signal: AbortSignal): Promise<void> {
    const { response } = this.#call
    const scanner = new UsageScanner()
    this.#scanner = scanner
    this.seen = scanner.seen
    this.#sawAt = this.#parts.now().getTime()
    response.writeHead(200, toSandbox(answer.headers))
    response.flushHeaders()
    await eachPiece(answer, (piece) => this.#pass(piece, scanner, signal))
    await this.#record?.settle('cut', this.seenOfCut())
    if (scanner.unread > 0) this.#parts.logger.warn({ request: this.#call.id, events: scanner.unread }, 'usage unread')
    response.end()
  }

  /** A promise: the next piece has to wait for it. */
  #pass(piece: Buffer, scanner: UsageScanner, signal: AbortSignal): Promise<void> | undefined {
    this.#idle.refresh()
    const startedBefore = scanner.started
    const end = scanner.scan(piece)
    this.#note(scanner.started && !startedBefore)
    const { response } = this.#call
    return end === undefined ? write(response, piece, signal) : this.#passEnd(piece, end, signal)
  }

  #note(isFirst: boolean): void {
    const at = this.#parts.now().getTime()
    if (!isFirst && Math.abs(at - this.#sawAt) < SAW_EVERY_MS) return
    this.#sawAt = at
    this.#record?.saw(isFirst ? this.seen : this.seenOfCut())
  }

  async #passEnd(piece: Buffer, end: number, signal: AbortSignal): Promise<void> {
    const { response } = this.#call
    await write(response, piece.subarray(0, end), signal)
    await this.#record?.settle(this.#scanner?.end === 'error' ? 'error' : 'ok', this.seen)
    await write(response, piece.subarray(end), signal)
  }

  async #json(answer: IncomingMessage): Promise<void> {
    const body = await this.#collect(answer, MAX_ANSWER)
    if (body === undefined) throw this.#unusable(answer, 'more than 32 MiB')
    const read = readAnswer(body, this.seen)
    if (!read && this.#record !== undefined) this.#parts.logger.warn({ request: this.#call.id }, 'usage unread')
    await this.#record?.settle('ok', this.seen)
    this.#call.response.writeHead(200, toSandbox(answer.headers)).end(body)
  }

  /** An error's envelope is made anew: what else an upstream puts into it is not for the sandbox. */
  async #error(answer: IncomingMessage, status: number): Promise<void> {
    const body = await this.#collect(answer, MAX_ERROR)
    if (body === undefined) answer.destroy()
    await this.#record?.settle('error')
    const said = readError(body)
    const message = this.#parts.scrub(said?.message ?? `The model API answered with status ${status}`)
    if (status < 400) throw new Refusal(502, `The model API answered with status ${status}`)
    if (status === 401 || status === 403) throw keyRefused(status, message)
    const refusal = new Refusal(status, message, said === undefined ? {} : { type: this.#parts.scrub(said.type) })
    const { 'x-should-retry': _own, ...own } = refusal.headers(this.#call.id)
    const { response } = this.#call
    response.writeHead(status, { ...own, ...toSandbox(answer.headers), 'content-type': 'application/json' })
    response.end(refusal.body(this.#call.id))
  }

  /** Undefined: longer than `limit`. */
  async #collect(answer: IncomingMessage, limit: number): Promise<Buffer | undefined> {
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of answer) {
      if (!Buffer.isBuffer(chunk)) continue
      this.#idle.refresh()
      bytes += chunk.length
      if (bytes > limit) return undefined
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }
}

/** Undefined: more may be written at once. */
function write(response: ServerResponse, chunk: Buffer, signal: AbortSignal): Promise<void> | undefined {
  if (chunk.length === 0 || response.write(chunk) || response.writableLength < AHEAD_BYTES) return undefined
  return once(response, 'drain', { signal }).then(() => undefined)
}

const errorEnvelope = z.object({ error: z.object({ type: z.string().regex(/^[a-z_]{1,64}$/), message: z.string() }) })

function readError(body: Buffer | undefined): { type: string; message: string } | undefined {
  try {
    const { error } = errorEnvelope.parse(JSON.parse(body?.toString('utf8') ?? ''))
    return { type: error.type, message: error.message.slice(0, 4096) }
  } catch {
    return undefined
  }
}

function noKey(): Refusal {
  const text = 'This Berth server has no model API key: its operator must set ANTHROPIC_API_KEY and restart it.'
  return new Refusal(403, text, { type: 'authentication_error', retry: false })
}

function keyRefused(status: number, message: string): Refusal {
  // The CLI shows a text of its own in the place of any that has this word in it.
  const said = message.replaceAll(/x-api-key/gi, 'API key')
  const text = `The model API refused this Berth server's key (status ${status}); its operator must check ANTHROPIC_API_KEY. It said: ${said}`
  return new Refusal(status, text, { type: status === 401 ? 'authentication_error' : 'permission_error', retry: false })
}
