/** A way to a unix socket on which every connection breaks after a given number of bytes, in the middle of whatever goes by then. */
import { once } from 'node:events'
import { createConnection, createServer, type Socket } from 'node:net'

export interface CuttingProxy extends AsyncDisposable {
  /** Connections that were cut. */
  readonly cuts: number
  /** From now on nothing is cut. */
  relent(): void
}

/** `nextCut` answers after how many bytes, both ways together, a new connection breaks. */
export async function cuttingProxy(path: string, target: string, nextCut: () => number): Promise<CuttingProxy> {
  const open = new Set<Socket>()
  let cuts = 0
  let isKind = false
  const server = createServer((near) => {
    const far = createConnection(target)
    const ends = [near, far] as const
    let left = isKind ? Number.POSITIVE_INFINITY : nextCut()
    const end = (): void => ends.forEach((socket) => socket.destroy())
    const pass = (to: Socket) => (data: Buffer) => {
      if (isKind || data.length <= left) to.write(data)
      else {
        to.write(data.subarray(0, left), () => {
          cuts += 1
          end()
        })
      }
      left = Math.max(0, left - data.length)
    }
    near.on('data', pass(far))
    far.on('data', pass(near))
    for (const socket of ends) {
      open.add(socket)
      socket.on('error', end)
      socket.on('close', () => {
        open.delete(socket)
        end()
      })
    }
  })
  server.listen(path)
  await once(server, 'listening')
  return {
    get cuts() {
      return cuts
    },
    relent: () => {
      isKind = true
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}
