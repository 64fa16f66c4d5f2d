import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http'
import { dialTls, type TlsDial } from '../egress/dial-tls.ts'
import { EgressRefusal } from '../egress/refusal.ts'
import type { Place } from './place.ts'
import { noConnection } from './refusal.ts'

const MAX_ANSWER_HEADERS = 32 * 1024
/** Interim answers before the one that counts. */
const MAX_INTERIM = 8

export interface Question {
  readonly place: Place
  readonly method: string
  /** Name and value in turns, beside those of the connection and of the body's length. */
  readonly headers: readonly string[]
  readonly body: Buffer | undefined
}

export interface Way extends TlsDial {
  /** Of the question's place, vetted. */
  readonly addresses: readonly string[]
  /** Until there is an answer, and then between two bytes of it. */
  readonly idleMs: number
}

/** Disposed, its connection is closed. */
export interface Answered extends Disposable {
  readonly incoming: IncomingMessage
}

/** One request on a connection of its own. Resolves with the head of the answer; throws a refusal when there is none. Follows nothing. */
export async function ask(question: Question, way: Way): Promise<Answered> {
  const { target } = question.place
  const socket = await dialTls(target, way.addresses, way)
  const stop = (): void => void socket.destroy()
  way.signal.addEventListener('abort', stop, { once: true })
  const close = (): void => {
    way.signal.removeEventListener('abort', stop)
    stop()
  }
  socket.setTimeout(way.idleMs, stop)
  // Unlike the other, this one is not put off by single bytes.
  const late = setTimeout(stop, way.idleMs)
  try {
    way.signal.throwIfAborted()
    const outgoing = httpRequest({
      createConnection: () => socket,
      method: question.method,
      path: question.place.path,
      headers: headersOf(question),
      setHost: false,
      maxHeaderSize: MAX_ANSWER_HEADERS,
      insecureHTTPParser: false,
    })
    const answered = answerOf(outgoing)
    outgoing.end(question.body)
    const incoming = await answered
    // Where nothing but the end of the connection ends the answer, a parser takes a reset for its end.
    socket.prependOnceListener('error', (error) => incoming.destroy(error))
    return { incoming, [Symbol.dispose]: close }
  } catch (error) {
    close()
    if (error instanceof EgressRefusal) throw error
    throw noConnection(`${target.host}:${target.port} has not answered as HTTP`)
  } finally {
    clearTimeout(late)
  }
}

function headersOf({ place: { target }, headers, body }: Question): string[] {
  const host = target.port === 443 ? target.host : `${target.host}:${target.port}`
  const length = body === undefined ? [] : ['Content-Length', String(body.length)]
  // What is compressed could not be searched for secrets.
  return [
    'Host',
    host,
    ...headers,
    'Accept-Encoding',
    'identity',
    'User-Agent',
    'berth',
    ...length,
    'Connection',
    'close',
  ]
}

function answerOf(outgoing: ClientRequest): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  let interim = 0
  outgoing.on('information', () => {
    if (++interim <= MAX_INTERIM) return
    // At once: the answer may be behind it in the same bytes.
    reject(new Error('the server only announces an answer'))
    outgoing.destroy()
  })
  outgoing.on('upgrade', (_answer, socket) => {
    socket.destroy()
    reject(new Error('the server speaks another protocol'))
  })
  outgoing.on('response', (incoming) => {
    // Whoever reads it hears of it; one that nobody reads may break off.
    incoming.on('error', () => undefined)
    resolve(incoming)
  })
  outgoing.on('error', reject)
  outgoing.once('close', () => reject(new Error('the connection has closed')))
  return promise
}
