/** One request, passed on to the agent's server and answered with what it answers. */
import { type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { BerthError } from '@berth/protocol'
import type { PortGrant } from '../../domain/port-token.ts'
import { forBrowser, type Header, pairsOf, valuesOf } from './port-headers.ts'

export interface Passage {
  readonly incoming: IncomingMessage
  readonly path: string
  readonly headers: readonly Header[]
  /** To the agent's server. This request is all that goes over it. */
  readonly connection: Duplex
  /** Name of our cookie. */
  readonly cookie: string
  readonly port: number
}

/** From the request's end to the answer's first byte. */
const ANSWER_MS = 120_000
const MAX_HEADER_BYTES = 64 * 1024

/** Resolves when the answer has been passed on. Rejects when there is none, and nothing was written then. */
export function passRequest(passage: Passage, response: ServerResponse): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const out = ask(passage, framing(passage.incoming), reject)
  out.on('response', (answer) => void passAnswer(passage, answer, response).then(resolve, reject))
  response.once('close', () => out.destroy())
  passage.incoming.pipe(out)
  return promise
}

export interface Upgrading {
  readonly socket: Socket
  readonly head: Buffer
  /** Makes the response, for an answer that refuses the upgrade. */
  readonly respond: () => ServerResponse
  /** The connection ends with it. */
  readonly grant: PortGrant | undefined
  readonly now: Date
}

/** The same for a WebSocket. Resolves when it has been handed over. */
export function passUpgrade(passage: Passage, { socket, head, respond, grant, now }: Upgrading): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const out = ask(passage, ['connection', 'Upgrade', 'upgrade', 'websocket'], reject)
  out.on('upgrade', (answer, peer, peerHead) => {
    const headers = forBrowser(pairsOf(answer.rawHeaders), passage.cookie)
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const start = `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n${lines}\r\n`
    socket.write(Buffer.from(start, 'latin1'))
    socket.write(peerHead)
    peer.write(head)
    join(socket, peer)
    if (grant !== undefined) {
      const late = setTimeout(() => socket.destroy(), grant.expires - now.getTime())
      socket.once('close', () => clearTimeout(late))
    }
    resolve()
  })
  out.on('response', (answer) => void passAnswer(passage, answer, respond()).then(resolve, reject))
  socket.once('close', () => out.destroy())
  out.end()
  return promise
}

async function passAnswer(passage: Passage, answer: IncomingMessage, response: ServerResponse): Promise<void> {
  const headers = forBrowser(pairsOf(answer.rawHeaders), passage.cookie).flat()
  try {
    response.writeHead(answer.statusCode ?? 0, headers)
  } catch (error) {
    passage.connection.destroy()
    throw strange(passage.port, error)
  }
  // What breaks now breaks the answer: its receiver sees that it is not whole.
  await pipeline(answer, response).catch(() => undefined)
}

/** Until either closes. What the agent's server said before that still gets out. */
function join(socket: Socket, peer: Duplex): void {
  socket.once('close', () => peer.destroy())
  peer.once('close', () => socket.destroySoon())
  peer.on('error', () => undefined)
  socket.pipe(peer)
  peer.pipe(socket)
}

function ask(passage: Passage, framing: readonly string[], reject: (error: unknown) => void): ClientRequest {
  const { connection, port } = passage
  const out = requestOn(passage, framing)
  let late: NodeJS.Timeout | undefined
  out.on('finish', () => {
    const silence = new BerthError('timeout', `port ${port} of the sandbox does not answer`)
    late = setTimeout(() => out.destroy(silence), ANSWER_MS)
  })
  for (const event of ['response', 'upgrade', 'close']) out.on(event, () => clearTimeout(late))
  out.on('error', (error) => {
    connection.destroy()
    reject(error instanceof BerthError ? error : strange(port, error))
  })
  out.on('close', () => reject(strange(port, undefined)))
  return out
}

function requestOn({ incoming, path, headers, connection, port }: Passage, framing: readonly string[]): ClientRequest {
  try {
    return request({
      method: incoming.method,
      path,
      headers: [...headers.flat(), ...framing],
      createConnection: () => connection,
      setHost: false,
      maxHeaderSize: MAX_HEADER_BYTES,
    })
  } catch (error) {
    connection.destroy()
    throw strange(port, error)
  }
}

/** A body is passed on as it came: with its length, which is among the headers, or in chunks. */
function framing({ rawHeaders }: IncomingMessage): string[] {
  const isChunked = valuesOf(pairsOf(rawHeaders), 'transfer-encoding').length > 0
  return ['connection', 'close', ...(isChunked ? ['transfer-encoding', 'chunked'] : [])]
}

function strange(port: number, cause: unknown): BerthError {
  return new BerthError('unavailable', `what listens on port ${port} of the sandbox does not answer as HTTP`, { cause })
}
