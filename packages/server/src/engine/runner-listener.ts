/** Listens for one sandbox's runner on a unix socket that only the runner's uid may open: for its link, and for the channels it dials. */
import { chmod, chown, lstat, rename, rm } from 'node:fs/promises'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'

/** Frames are bounded by the runner's own limit on one line of the CLI. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024

export interface RunnerDoor {
  onLink(socket: WebSocket): void
  /** What to do with the channel of that path and authorization; undefined: nobody waits for it. */
  channel(path: string, authorization: string | undefined): ((socket: WebSocket) => void) | undefined
}

/**
 * Replaces what stood at `path`. The socket has its owner and mode before it gets its name, so that nobody else can connect in between.
 */
export async function listenForRunner(path: string, ownerUid: number, door: RunnerDoor): Promise<AsyncDisposable> {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_FRAME_BYTES, perMessageDeflate: false })
  const server = createServer((_request, response) => response.writeHead(426).end())
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const { url = '/', headers } = request
    const enter = url === '/' ? (link: WebSocket) => door.onLink(link) : door.channel(url, headers.authorization)
    if (enter === undefined) socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n')
    else sockets.handleUpgrade(request, socket, head, enter)
  })
  const unnamed = `${path}.new`
  await rm(unnamed, { force: true })
  server.listen(unnamed)
  await once(server, 'listening')
  await chmod(unnamed, 0o600)
  await chown(unnamed, ownerUid, ownerUid)
  const { ino } = await lstat(unnamed)
  await rename(unnamed, path)
  return {
    [Symbol.asyncDispose]: async () => {
      for (const client of sockets.clients) client.terminate()
      sockets.close()
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
      })
      // Another server may listen there by now.
      if ((await lstat(path).catch(() => undefined))?.ino === ino) await rm(path)
    },
  }
}
