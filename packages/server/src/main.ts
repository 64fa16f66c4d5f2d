/** The control plane as a whole: the one place that knows every part of it. */
import { once } from 'node:events'
import { Server as HttpServer } from 'node:http'
import { join } from 'node:path'
import { createAdaptorServer } from '@hono/node-server'
import { BerthError } from '@berth/protocol'
import type { GatewayClient } from '@berth/protocol/gateway-client'
import type { SandboxDriver } from '@berth/sandbox'
import type { Logger } from 'pino'
import { type Clock, systemClock } from './domain/clock.ts'
import { createIds } from './domain/ids.ts'
import { keyOf } from './domain/key.ts'
import { createEngine } from './engine/create-engine.ts'
import { createApp } from './http/app.ts'
import { RequestNotes } from './http/request-notes.ts'
import { addSdkMessages } from './http/sdk-messages.ts'
import { addSessionEvents } from './http/session-events.ts'
import { settings } from './settings.ts'
import { openSqliteStore } from './store/sqlite/open.ts'
import type { Store } from './store/store.ts'

export const defaultWorkspace = { id: 'wrkspc_default', name: 'Default' } as const

export interface ServerOptions {
  /** Claimed by the caller, see `claimDataDir`. */
  readonly dataDir: string
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** A key of the default workspace that is to exist. */
  readonly apiKey: string
  readonly allowedHosts: readonly string[]
  readonly allowedOrigins: readonly string[]
  readonly driver: SandboxDriver
  readonly gateway: GatewayClient
  readonly logger: Logger
  readonly clock?: Clock
}

export interface Server extends AsyncDisposable {
  readonly url: string
}

/** How long a drain waits for answers that are being written. */
const DRAIN_MS = 5_000
const IDLE_CHECK_MS = 20

/**
 * Adopts what the server before left, and resolves when requests are answered. Disposing drains: no new
 * requests, streams end, sandboxes live on. Throws, with nothing left open, when a part cannot start.
 */
export async function startServer(options: ServerOptions): Promise<Server> {
  await using opened = new AsyncDisposableStack()
  const clock = options.clock ?? systemClock
  const ids = createIds(clock)
  const store = opened.use(await openSqliteStore(join(options.dataDir, 'berth.db')))
  await prepareWorkspace(store, options.apiKey, { clock, ids })
  const { driver, gateway, logger } = options
  const epoch = await store.nextEpoch({})
  // The directory is this server's alone: whose leases these were is dead, whatever the time of day was when it took them.
  await store.releaseLeases({ holder: null })
  const notes = opened.use(new RequestNotes({ store, clock, logger }))
  const engine = opened.use(await createEngine({ store, driver, gateway, clock, ids, logger, epoch }))
  const config = {
    listenHost: options.host,
    allowedHosts: options.allowedHosts,
    allowedOrigins: options.allowedOrigins,
  }
  const app = createApp({ store, engine, notes, config, clock, ids, logger }, addSessionEvents, addSdkMessages)
  const http = createAdaptorServer({ fetch: app.fetch })
  if (!(http instanceof HttpServer)) throw new TypeError('the adaptor made another kind of server')
  const url = await listen(http, options)
  const parts = opened.move()
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      const closed = once(http, 'close')
      http.close()
      // A connection may become idle at any time while the others are drained.
      const idle = setInterval(() => http.closeIdleConnections(), IDLE_CHECK_MS)
      const timer = setTimeout(() => http.closeAllConnections(), DRAIN_MS)
      await parts.disposeAsync()
      await closed
      clearInterval(idle)
      clearTimeout(timer)
    },
  }
}

/** Answers the server's URL. Throws `unavailable` when the address cannot be had. */
async function listen(http: HttpServer, { host, port }: Pick<ServerOptions, 'host' | 'port'>): Promise<string> {
  const name = host.includes(':') ? `[${host}]` : host
  const listening = once(http, 'listening')
  http.listen(port, host)
  try {
    await listening
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new BerthError('unavailable', `cannot listen on ${name}:${port}: ${reason}; see ${settings.listen.env}`, {
      cause,
    })
  }
  const address = http.address()
  return `http://${name}:${typeof address === 'object' && address !== null ? address.port : port}`
}

async function prepareWorkspace(
  store: Store,
  apiKey: string,
  { clock, ids }: { clock: Clock; ids: ReturnType<typeof createIds> },
): Promise<void> {
  const now = clock.now().toISOString()
  await store.ensureWorkspace({ ...defaultWorkspace, now })
  const { hash, hint } = keyOf(apiKey)
  await store.ensureKey({ workspaceId: defaultWorkspace.id, id: ids.next('apikey'), name: 'first', hash, hint, now })
}
