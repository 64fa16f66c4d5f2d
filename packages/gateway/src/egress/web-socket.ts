import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { InjectedRequest } from '../injection/injected-request.ts'
import { headOf, send, toAnswer, upgraded, writeAnswer } from './forward-http.ts'
import type { HostLine } from './host-line.ts'
import { join, type PassageLimits } from './passage.ts'
import { EgressRefusal } from './refusal.ts'
import { acceptOf, type Forwarded } from './request-head.ts'

export interface Handshake {
  readonly request: IncomingMessage
  readonly client: Duplex
  /** What the client has said beyond its request. */
  readonly head: Buffer
  readonly forwarded: Forwarded
  readonly line: HostLine
  readonly injected: InjectedRequest | undefined
  readonly signal: AbortSignal
  readonly limits: PassageLimits
}

/** Passes the handshake of a WebSocket on; when the host has taken it, what follows goes both ways as it is. */
export async function forwardWebSocket({ request, client, head, forwarded, line, ...given }: Handshake): Promise<void> {
  const { injected, signal, limits } = given
  const { socket } = line
  const stop = (): void => void socket.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    const outcome = await upgraded(send({ request, forwarded, line, injected }), forwarded)
    if ('refused' in outcome) return await writeAnswer(client, outcome.refused, injected)
    const { answer } = outcome
    const isTaken = answer.headers['sec-websocket-accept'] === acceptOf(request.headers['sec-websocket-key'] ?? '')
    if (!isTaken || answer.headers.upgrade?.toLowerCase() !== 'websocket') {
      throw new EgressRefusal(502, 'unreachable', `${forwarded.target.host} has not answered as a WebSocket`)
    }
    const shown = toAnswer(answer, injected, false)
    client.write(headOf(answer.statusCode, shown, ['Connection', 'Upgrade', 'Upgrade', 'websocket']))
    if (outcome.head.length > 0) client.write(outcome.head)
    if (head.length > 0) socket.write(head)
    await join(client, socket, { signal, idleMs: limits.idleMs })
  } finally {
    signal.removeEventListener('abort', stop)
    socket.destroy()
  }
}
