import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { type Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type InjectedRequest, pairsOf } from '../injection/injected-request.ts'
import { scrubbedAnswer, type ScrubbedAnswer } from '../injection/scrubbed-answer.ts'
import type { HostLine, KeptLine } from './host-line.ts'
import type { PassageLimits } from './passage.ts'
import { EgressRefusal } from './refusal.ts'
import { type Forwarded, toHost, toSandbox } from './request-head.ts'
import { UNREAD_BYTES } from './unread-bytes.ts'

const BYTES = { objectMode: false, highWaterMark: UNREAD_BYTES } as const
/** Answers of the kind 1xx before the one that counts. */
const MAX_HINTS = 100

export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly forwarded: Forwarded
  /** To the target, and ready. */
  readonly line: HostLine
  readonly kept: KeptLine | undefined
  readonly injected: InjectedRequest | undefined
  readonly signal: AbortSignal
  readonly limits: PassageLimits
}

/** Writes the request anew, as it was read. Throws a 502 when the host has gone, or spoken unasked, since the line was had. */
export function send({
  request,
  forwarded,
  line,
  injected,
}: Pick<Exchange, 'request' | 'forwarded' | 'line' | 'injected'>): ClientRequest {
  if (!line.isReady) throw noAnswer(forwarded)
  return line.send({
    method: request.method ?? 'GET',
    path: forwarded.path,
    headers: injected?.headers ?? toHost(request, forwarded),
  })
}

/** Passes a request on and its answer back. Throws an `EgressRefusal` when there is no answer; one that breaks off is cut. */
export async function forwardHttp({ request, response, signal, limits, kept, ...given }: Exchange): Promise<void> {
  const outgoing = send({ request, ...given })
  const { injected, line } = given
  const close = (): void => line[Symbol.dispose]()
  // The end of an answer that was passed on ends the passage, and not the connection.
  const stop = (): void => void (response.writableFinished || close())
  signal.addEventListener('abort', stop, { once: true })
  let answered: IncomingMessage | undefined
  // Where nothing but the end of the connection ends the answer, the parser takes a reset for its end.
  const fail = (): void => void (answered?.complete === false && response.destroy())
  line.socket.prependListener('error', fail)
  const body = Readable.from(atMost(limits.bodyBytes, injected?.body ?? request), BYTES)
  const sent = pipeline([body, ...(injected?.stages ?? []), outgoing])
  // A server may answer before it has read everything; why the rest was not sent is then of no interest.
  sent.catch(() => undefined)
  try {
    const incoming = await answerOf(outgoing, sent)
    answered = incoming
    response.sendDate = false
    const answer = toAnswer(incoming, injected, hasBody(request, incoming))
    // The host's own words for the status may hold bytes that no answer may have: they are left out.
    response.writeHead(incoming.statusCode ?? 502, answer.headers)
    // Whoever listens to events waits for the head of the answer, and maybe long for the first of them.
    if (incoming.headers['content-type']?.startsWith('text/event-stream') === true) response.flushHeaders()
    // What is there already, the end too, goes out in one write.
    response.cork()
    setImmediate(() => response.uncork())
    await pipeline([Readable.from(joined(incoming), BYTES), ...answer.stages, response])
    if (kept !== undefined && line.rest(incoming)) return kept.put(line)
    close()
  } catch (error) {
    close()
    throw error instanceof EgressRefusal ? error : noAnswer(given.forwarded)
  } finally {
    signal.removeEventListener('abort', stop)
    line.socket.off('error', fail)
  }
}

/** Also rejects when the request's body is refused before there is an answer. */
async function answerOf(outgoing: ClientRequest, sent: Promise<void>): Promise<IncomingMessage> {
  const answered = Promise.withResolvers<IncomingMessage>()
  outgoing.once('response', answered.resolve)
  outgoing.on('error', answered.reject)
  rejectWithoutAnswer(outgoing, answered.reject)
  const refused = sent.catch((error: unknown) => {
    if (error instanceof EgressRefusal) throw error
  })
  return await Promise.race([answered.promise, refused.then(() => answered.promise)])
}

/** A host that switches protocols unasked, or never comes to its answer, is given up: neither is an error of the request by itself. */
function rejectWithoutAnswer(outgoing: ClientRequest, reject: (error: Error) => void): void {
  let hints = 0
  outgoing.on('information', () => {
    if (++hints <= MAX_HINTS) return
    const error = new Error('no answer after many hints')
    // Said at once: an answer may stand in the same bytes as the last of them.
    reject(error)
    outgoing.destroy(error)
  })
  outgoing.once('close', () => reject(new Error('no answer')))
}

function noAnswer({ target }: Forwarded): EgressRefusal {
  return new EgressRefusal(502, 'unreachable', `${target.host}:${target.port} has not answered as HTTP`)
}

/**
 * What has come of a body since it was last looked at, in one piece: chunks of single bytes, which others would have to hold one by one, weigh no
 * more than their bytes.
 */
async function* joined(body: Readable): AsyncGenerator<Buffer> {
  for await (const piece of body) if (Buffer.isBuffer(piece)) yield piece
}

/** The same of a body that may not be longer. */
async function* atMost(limit: number, body: Readable): AsyncGenerator<Buffer> {
  let bytes = 0
  for await (const piece of joined(body)) {
    bytes += piece.length
    if (bytes > limit) throw new EgressRefusal(413, 'limit', `the body is over ${limit} bytes`)
    yield piece
  }
}

/** Resolves with the other side's answer to an upgrade: 101 with its connection, or any other answer. */
export async function upgraded(
  outgoing: ClientRequest,
  forwarded: Forwarded,
): Promise<{ answer: IncomingMessage; head: Buffer } | { refused: IncomingMessage }> {
  const answered = Promise.withResolvers<{ answer: IncomingMessage; head: Buffer } | { refused: IncomingMessage }>()
  outgoing.once('upgrade', (answer, _socket, head) => answered.resolve({ answer, head }))
  outgoing.once('response', (refused) => answered.resolve({ refused }))
  outgoing.on('error', answered.reject)
  rejectWithoutAnswer(outgoing, answered.reject)
  outgoing.end()
  try {
    return await answered.promise
  } catch {
    throw noAnswer(forwarded)
  }
}

/** Writes an answer to a connection that has no parser any more; its end is the connection's. */
export async function writeAnswer(
  client: Duplex,
  incoming: IncomingMessage,
  injected: InjectedRequest | undefined,
): Promise<void> {
  const answer = toAnswer(incoming, injected, true)
  client.write(headOf(incoming.statusCode, answer, ['Connection', 'close']))
  await pipeline([incoming, ...answer.stages, client])
}

/** What of an answer goes on to the sandbox. */
export function toAnswer(
  incoming: IncomingMessage,
  injected: InjectedRequest | undefined,
  hasBody: boolean,
): ScrubbedAnswer {
  const headers = toSandbox(incoming.rawHeaders)
  if (injected === undefined) return { headers, stages: [] }
  return scrubbedAnswer({ answer: incoming, headers, hasBody, backwards: injected.backwards })
}

function hasBody({ method }: IncomingMessage, { statusCode }: IncomingMessage): boolean {
  return method !== 'HEAD' && statusCode !== 204 && statusCode !== 304
}

export function headOf(status: number | undefined, answer: ScrubbedAnswer, further: readonly string[]): string {
  const lines = pairsOf([...answer.headers, ...further]).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} ${STATUS_CODES[status ?? 0] ?? ''}\r\n${lines.join('')}\r\n`
}

export async function untilClosed(response: ServerResponse): Promise<void> {
  if (!response.writableFinished && !response.destroyed) await once(response, 'close')
}
