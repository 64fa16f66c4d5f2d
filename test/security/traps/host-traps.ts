/** On the host, what code in a sandbox must not reach: on all of its addresses, for streams and for datagrams. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'

export interface HostTraps extends AsyncDisposable {
  /** Who came, in order: `tcp` or `udp`, and from where. */
  readonly hits: string[]
  readonly port: number
  /** `address:port` of each address of this machine. */
  readonly places: readonly string[]
}

export async function setHostTraps(): Promise<HostTraps> {
  const hits: string[] = []
  const server = createServer((socket) => {
    hits.push(`tcp ${socket.remoteAddress}`)
    socket.destroy()
  })
  server.listen(0, '::')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const datagrams = createSocket({ type: 'udp6', ipv6Only: false })
  datagrams.on('message', (_, from) => hits.push(`udp ${from.address}`))
  datagrams.bind(port, '::')
  await once(datagrams, 'listening')
  const own = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
  return {
    hits,
    port,
    places: own.filter(({ scopeid }) => scopeid === undefined || scopeid === 0).map((one) => `${one.address}:${port}`),
    [Symbol.asyncDispose]: async () => {
      const closed = [once(server, 'close'), once(datagrams, 'close')]
      server.close()
      datagrams.close()
      await Promise.all(closed)
    },
  }
}
