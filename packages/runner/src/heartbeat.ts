import { HEARTBEAT_MS } from '@berth/protocol/link-constants'
import type { WebSocket } from 'ws'

/** Pings when nothing came for HEARTBEAT_MS and cuts the connection after three times that, until it is closed. */
export function keepAlive(socket: Pick<WebSocket, 'on' | 'send' | 'terminate'>, now: () => number): void {
  let heard = now()
  let pings = 0
  socket.on('message', () => {
    heard = now()
  })
  const timer = setInterval(() => {
    const silence = now() - heard
    if (silence >= 3 * HEARTBEAT_MS) socket.terminate()
    else if (silence >= HEARTBEAT_MS) socket.send(JSON.stringify({ type: 'ping', n: ++pings }))
  }, HEARTBEAT_MS / 2)
  socket.on('close', () => clearInterval(timer))
}
