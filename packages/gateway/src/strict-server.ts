import { createServer, type Server } from 'node:http'
import type { Duplex } from 'node:stream'

/** Bytes that never became a request: headers that are too long, or what the parser does not take. */
export type Unreadable = 'too_large' | 'malformed'

export interface StrictServerOptions {
  /** Milliseconds until a request has come in whole. */
  readonly requestTimeout: number
  /** Milliseconds that a connection stays open for the next request. */
  readonly keepAliveTimeout: number
  readonly maxConnections: number
  /** Default: true. Without it whoever serves refuses what names no host. */
  readonly requireHostHeader?: boolean
  readonly highWaterMark?: number
  /** Answers on a connection that can still be written to, and ends it. */
  readonly refuse: (what: Unreadable, client: Duplex) => void
}

/** An HTTP/1.1 server for whatever code in a sandbox may send: nothing is repaired, nothing is without bounds. */
export function createStrictServer({ maxConnections, refuse, ...options }: StrictServerOptions): Server {
  const server = createServer({
    maxHeaderSize: 32 * 1024,
    headersTimeout: 15_000,
    connectionsCheckingInterval: 5_000,
    requireHostHeader: true,
    insecureHTTPParser: false,
    ...options,
  })
  server.maxHeadersCount = 0
  server.maxConnections = maxConnections
  server.on('clientError', (error: NodeJS.ErrnoException, client) => {
    if (error.code === 'ECONNRESET' || !client.writable) client.destroy()
    else refuse(error.code === 'HPE_HEADER_OVERFLOW' ? 'too_large' : 'malformed', client)
  })
  return server
}
