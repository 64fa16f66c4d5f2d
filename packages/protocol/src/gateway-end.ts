/** How the end of a gateway is noticed by those who look after it. */
import { request } from 'node:http'
import { BerthError } from './error.ts'

/**
 * Resolves at once when the gateway ends, however it does, or when none is there. It asks for an answer that has no end before the
 * gateway's own, and whose connection none is longer. Rejects when the signal is aborted, and with `internal` for a gateway that
 * answers something else.
 */
export async function untilGatewayEnds(controlSocket: string, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<number>()
  const asking = {
    socketPath: controlSocket,
    path: '/end',
    headers: { host: 'gateway' },
    agent: false,
    signal,
  } as const
  const outgoing = request(asking)
  let status = 200
  outgoing.on('socket', (socket) => socket.unref())
  outgoing.on('response', (incoming) => {
    status = incoming.statusCode ?? 500
    incoming.on('error', () => undefined).resume()
  })
  outgoing.on('error', () => undefined).on('close', () => resolve(status))
  outgoing.end()
  await promise
  signal.throwIfAborted()
  if (status !== 200) throw new BerthError('internal', `The gateway answered with status ${status}`)
}
