/** The listener of the API: how long a request may take to come in, and how much of it is looked at before anybody knows whose it is. */
import { Server as HttpServer } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import type { App } from './context.ts'

export interface ApiLimits {
  readonly maxHeaderSize: number
  /** Milliseconds for the head of a request, and for all of it. */
  readonly headersTimeout: number
  readonly requestTimeout: number
  /** How often both are looked at. */
  readonly connectionsCheckingInterval: number
  readonly keepAliveTimeout: number
}

const LIMITS: ApiLimits = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 20_000,
  requestTimeout: 300_000,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: 5_000,
}
/** Twice the event streams that one server is to carry. */
const MAX_CONNECTIONS = 20_000

export function createApiServer(app: App, limits: Partial<ApiLimits> = {}): HttpServer {
  const http = createAdaptorServer({ fetch: app.fetch, serverOptions: { ...LIMITS, ...limits } })
  if (!(http instanceof HttpServer)) throw new TypeError('the adaptor made another kind of server')
  http.maxConnections = MAX_CONNECTIONS
  return http
}
