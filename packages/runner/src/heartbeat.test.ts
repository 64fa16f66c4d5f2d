import { HEARTBEAT_MS } from '@berth/protocol/link'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { keepAlive } from './heartbeat.ts'

afterEach(() => void vi.useRealTimers())

/** Both ends of a real connection; only the timers of this test are its own. */
async function connected() {
  const http = createServer().listen(0, '127.0.0.1')
  await once(http, 'listening')
  const server = new WebSocketServer({ server: http })
  const accepted = once(server, 'connection')
  const address = http.address()
  const client = new WebSocket(`ws://127.0.0.1:${isInet(address) ? address.port : 0}`)
  const [[peer]] = await Promise.all([accepted, once(client, 'open')])
  return { client, peer, close: () => (client.terminate(), http.close()) }
}

function isInet(address: string | AddressInfo | null): address is AddressInfo {
  return typeof address === 'object' && address !== null
}

test('pings after a silence, and cuts after three', async () => {
  const { client, peer, close } = await connected()
  const pings: string[] = []
  peer.on('message', (data: Buffer) => pings.push(data.toString()))
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  let now = 0
  keepAlive(client, () => now)
  const pass = (ms: number) => {
    now += ms
    vi.advanceTimersByTime(ms)
  }
  pass(HEARTBEAT_MS / 2)
  pass(HEARTBEAT_MS / 2)
  await vi.waitUntil(() => pings.length === 1)
  expect(pings).toEqual(['{"type":"ping","n":1}'])

  const heard = once(client, 'message')
  peer.send('{"type":"pong","n":1}')
  await heard
  for (let n = 1; n < 6; n++) pass(HEARTBEAT_MS / 2)
  expect(client.readyState).toBe(WebSocket.OPEN)
  const closed = once(client, 'close')
  pass(HEARTBEAT_MS / 2)
  await closed
  expect(vi.getTimerCount()).toBe(0)
  close()
})
