import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request as httpRequest, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { PassageLimits } from './passage.ts'
import { EgressRefusal } from './refusal.ts'
import { type Forwarded, toHost, toSandbox } from './request-head.ts'

const MAX_ANSWER_HEADERS = 32 * 1024
/** Answers of the kind 1xx before the one that counts. */
const MAX_HINTS = 100

export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly forwarded: Forwarded
  /** Connected to the target, and used for this request alone. */
  readonly socket: Socket
  readonly signal: AbortSignal
  readonly limits: PassageLimits
}

/** Writes the request anew, as it was read. */
export function send({
  request,
  forwarded,
  socket,
}: Pick<Exchange, 'request' | 'forwarded' | 'socket'>): ClientRequest {
  return httpRequest({
    createConnection: () => socket,
    method: request.method ?? 'GET',
    path: forwarded.path,
    headers: toHost(request, forwarded.target),
    setHost: false,
    maxHeaderSize: MAX_ANSWER_HEADERS,
    insecureHTTPParser: false,
  })
}

/** Passes a request on and its answer back. Throws an `EgressRefusal` when there is no answer; one that breaks off is cut. */
export async function forwardHttp({ request, response, signal, limits, ...given }: Exchange): Promise<void> {
  const outgoing = send({ request, ...given })
  given.socket.setTimeout(limits.idleMs, () => given.socket.destroy())
  const stop = (): void => void given.socket.destroy()
  signal.addEventListener('abort', stop, { once: true })
  const sent = pipeline(request, atMost(limits.bodyBytes), outgoing)
  // A server may answer before it has read everything; why the rest was not sent is then of no interest.
  sent.catch(() => undefined)
  try {
    const incoming = await answerOf(outgoing, sent)
    response.sendDate = false
    // Without the host's own words for the status: they may hold bytes that no answer may have.
    response.writeHead(incoming.statusCode ?? 502, toSandbox(incoming.rawHeaders))
    // Where nothing but the end of the connection ends the answer, the parser takes a reset for its end.
    given.socket.prependOnceListener('error', () => void (incoming.complete || response.destroy()))
    await pipeline(incoming, joined, response)
  } catch (error) {
    throw error instanceof EgressRefusal ? error : noAnswer(given.forwarded)
  } finally {
    signal.removeEventListener('abort', stop)
    given.socket.destroy()
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
    if (++hints > MAX_HINTS) outgoing.destroy(new Error('no answer after many hints'))
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
async function* joined(body: IncomingMessage): AsyncGenerator<Buffer> {
  for await (const piece of body) if (Buffer.isBuffer(piece)) yield piece
}

/** The same of a body that may not be longer. */
function atMost(limit: number): (body: IncomingMessage) => AsyncGenerator<Buffer> {
  return async function* (body) {
    let bytes = 0
    for await (const piece of joined(body)) {
      bytes += piece.length
      if (bytes > limit) throw new EgressRefusal(413, 'limit', 'the body is too large')
      yield piece
    }
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
export async function writeAnswer(client: Duplex, answer: IncomingMessage): Promise<void> {
  client.write(headOf(answer, ['Connection', 'close']))
  await pipeline(answer, client)
}

export function headOf(answer: IncomingMessage, further: readonly string[]): string {
  const headers = [...toSandbox(answer.rawHeaders), ...further]
  const lines: string[] = []
  for (let at = 0; at + 1 < headers.length; at += 2) lines.push(`${headers[at]}: ${headers[at + 1]}\r\n`)
  return `HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n${lines.join('')}\r\n`
}

export async function untilClosed(response: ServerResponse): Promise<void> {
  if (!response.writableFinished && !response.destroyed) await once(response, 'close')
}
