/** Listens for one sandbox's runner on a unix socket that only the runner's uid may open. */
import { chmod, chown, rename, rm } from 'node:fs/promises'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type WebSocket, WebSocketServer } from 'ws'

/** Frames are bounded by the runner's own limit on one line of the CLI. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024

/**
 * Replaces what stood at `path`. The socket has its owner and mode before it gets its name, so that nobody else can connect in between.
 */
export async function listenForRunner(
  path: string,
  ownerUid: number,
  onSocket: (socket: WebSocket) => void,
): Promise<AsyncDisposable> {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_FRAME_BYTES, perMessageDeflate: false })
  const server = createServer((_request, response) => response.writeHead(426).end())
  server.on('upgrade', (request, socket, head) => sockets.handleUpgrade(request, socket, head, onSocket))
  const unnamed = `${path}.new`
  await rm(unnamed, { force: true })
  server.listen(unnamed)
  await once(server, 'listening')
  await chmod(unnamed, 0o600)
  await chown(unnamed, ownerUid, ownerUid)
  await rename(unnamed, path)
  return {
    [Symbol.asyncDispose]: async () => {
      for (const client of sockets.clients) client.terminate()
      sockets.close()
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
      })
      await rm(path, { force: true })
    },
  }
}
