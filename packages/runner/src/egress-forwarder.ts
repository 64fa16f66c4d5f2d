import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'

const MAX_CONNECTIONS = 256

/**
 * A port of the sandbox's loopback that leads to a session's way out. It passes bytes on and knows nothing of them: who may use it is
 * decided behind the socket, by the password that only the session's own processes have.
 */
export class EgressForwarder implements AsyncDisposable {
  readonly socket: string
  readonly #server: Server
  readonly #open = new Set<Socket>()

  private constructor(socket: string) {
    this.socket = socket
    // Half-open: a side that has said all it has to say may still listen.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#forward(client))
    this.#server.maxConnections = MAX_CONNECTIONS
  }

  /** Takes a free port: one that was known before could be another session's by now, which would learn this one's password. */
  static async open(socket: string): Promise<EgressForwarder> {
    const forwarder = new EgressForwarder(socket)
    forwarder.#server.listen({ host: '127.0.0.1', port: 0 })
    await once(forwarder.#server, 'listening')
    return forwarder
  }

  get port(): number {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the way out is closed')
    return address.port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#open) socket.destroy()
    await closed
  }

  #forward(client: Socket): void {
    const gateway = connect({ path: this.socket, allowHalfOpen: true })
    const ends = [client, gateway] as const
    const cut = (): void => ends.forEach((end) => end.destroy())
    for (const end of ends) {
      this.#open.add(end)
      end.on('error', cut)
      end.once('close', () => {
        this.#open.delete(end)
        for (const other of ends) if (other !== end) other.destroySoon()
      })
    }
    client.pipe(gateway)
    gateway.pipe(client)
  }
}

/** In every sandbox: the authorities of the machine, and the gateway's, which speaks for hosts whose requests it puts secrets into. */
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt'

/** By which programs that look elsewhere by themselves find them. */
const authorityEnvironment: Readonly<Record<string, string>> = Object.fromEntries(
  [
    'NODE_EXTRA_CA_CERTS',
    'SSL_CERT_FILE',
    'CURL_CA_BUNDLE',
    'GIT_SSL_CAINFO',
    'REQUESTS_CA_BUNDLE',
    'PIP_CERT',
    'AWS_CA_BUNDLE',
    'CARGO_HTTP_CAINFO',
  ].map((name) => [name, AUTHORITIES]),
)

/** By which programs find a proxy, each by its own name for it. What is in the sandbox itself is not reached through it. */
export function proxyEnvironment(port: number, credential: string): Record<string, string> {
  const proxy = `http://berth:${credential}@127.0.0.1:${port}`
  // The CLI's way to the model is a socket; the name stands for it.
  const direct = 'localhost,127.0.0.1,::1,.localhost,model.berth.internal'
  return {
    HTTP_PROXY: proxy,
    HTTPS_PROXY: proxy,
    ALL_PROXY: proxy,
    NO_PROXY: direct,
    http_proxy: proxy,
    https_proxy: proxy,
    all_proxy: proxy,
    no_proxy: direct,
    NODE_USE_ENV_PROXY: '1',
    // Otherwise it asks without the password first, every time.
    GIT_HTTP_PROXY_AUTHMETHOD: 'basic',
    ...authorityEnvironment,
  }
}
