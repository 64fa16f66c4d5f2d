/** Stands between a client and a server and loses what it is told to: a request before it arrives, or its answer once it was given. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export class LosingProxy implements AsyncDisposable {
  readonly url: string
  readonly #server: ReturnType<typeof createServer>
  readonly #sockets = new Set<Socket>()
  readonly #losses: ('request' | 'answer')[] = []

  static async start(serverUrl: string): Promise<LosingProxy> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    return new LosingProxy(server, address.port, Number(new URL(serverUrl).port))
  }

  private constructor(server: ReturnType<typeof createServer>, port: number, serverPort: number) {
    this.url = `http://127.0.0.1:${port}`
    this.#server = server
    server.on('connection', (client) => this.#pass(client, connect(serverPort, '127.0.0.1')))
  }

  /** What becomes of the next POSTs of events, in order; those after them pass. */
  lose(...losses: ('request' | 'answer')[]): void {
    this.#losses.push(...losses)
  }

  /** Losses that have not happened yet. */
  get left(): number {
    return this.#losses.length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #pass(client: Socket, server: Socket): void {
    let loss: 'request' | 'answer' | undefined
    const breakOff = (): void => [client, server].forEach((socket) => socket.resetAndDestroy())
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      // The other end has gone; so does this one.
      socket.on('error', () => undefined)
    }
    client.on('data', (bytes) => {
      if (/^POST \S+\/events /.test(bytes.toString('latin1', 0, 256))) loss = this.#losses.shift()
      if (loss === 'request') breakOff()
      else server.write(bytes)
    })
    server.on('data', (bytes) => {
      if (loss === 'answer') breakOff()
      else client.write(bytes)
    })
    client.on('close', () => server.destroy())
    server.on('close', () => client.destroy())
  }
}
