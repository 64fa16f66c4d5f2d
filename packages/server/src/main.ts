/** The control plane as a whole: the one place that knows every part of it. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Server as HttpServer } from 'node:http'
import { join } from 'node:path'
import { BerthError } from '@berth/protocol'
import type { GatewayClient } from '@berth/protocol/gateway-client'
import type { SandboxDriver } from '@berth/sandbox'
import type { Logger } from 'pino'
import { Archives } from './blobs/archives.ts'
import { openFileBlobs } from './blobs/fs/file-blobs.ts'
import type { Config } from './config.ts'
import { listPrices } from '@berth/protocol/prices'
import { Sealing } from '@berth/protocol/sealing'
import type { Costs } from './domain/costs.ts'
import { type Clock, systemClock } from './domain/clock.ts'
import { createIds } from './domain/ids.ts'
import { keyOf } from './domain/key.ts'
import { PortAddresses } from './domain/port-address.ts'
import { PortTokens } from './domain/port-token.ts'
import { createEngine } from './engine/create-engine.ts'
import { createApiServer } from './http/api-server.ts'
import { createApp } from './http/app.ts'
import { createPortServer, PortListener, type PortListenerDeps } from './http/ports/port-listener.ts'
import { KeyCheck } from './http/key-check.ts'
import { KeyWatch } from './http/key-watch.ts'
import { RequestNotes } from './http/request-notes.ts'
import { settings } from './settings.ts'
import { openSqliteStore } from './store/sqlite/open.ts'
import type { Store } from './store/store.ts'
import { fingerprintOf } from './vault-key.ts'

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
  /** Default: on loopback, below localhost. */
  readonly ports?: Config['ports']
  readonly driver: SandboxDriver
  readonly gateway: GatewayClient
  /** Default: as the setting of that name says. */
  readonly checkpointsPerSession?: number
  /** The same. */
  readonly warmSandboxes?: number
  /** Default: list prices, no limit, and sandboxes as the setting says. */
  readonly costs?: Costs
  /** 32 bytes, by which vaults are sealed. Always the same for one data directory. */
  readonly vaultKey: Buffer
  readonly logger: Logger
  readonly clock?: Clock
}

export interface Server extends AsyncDisposable {
  readonly url: string
}

const defaultCosts: Costs = {
  prices: listPrices,
  workspaceDailyLimit: undefined,
  sandboxHourUsd: Number(settings.sandboxHourUsd.default),
}

/** How long a drain waits for answers that are being written. */
const DRAIN_MS = 5_000
const IDLE_CHECK_MS = 20
const MAX_PORT = 65_535

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
  const sealing = new Sealing(options.vaultKey)
  await store.bindVaultKey({ fingerprint: fingerprintOf(sealing) })
  const { driver, gateway, logger } = options
  const checkpointsPerSession = options.checkpointsPerSession ?? Number(settings.checkpointsPerSession.default)
  const warmSandboxes = options.warmSandboxes ?? Number(settings.warmSandboxes.default)
  const costs = options.costs ?? defaultCosts
  const serverNumber = await store.nextServerNumber({})
  // The directory is this server's alone: whose leases these were is dead, whatever the time of day was when it took them.
  await store.releaseLeases({ holder: null })
  const notes = opened.use(new RequestNotes({ store, clock, logger }))
  const keys = opened.use(new KeyWatch({ store, clock, logger }))
  const blobs = opened.use(await openFileBlobs(join(options.dataDir, 'blobs')))
  const archives = new Archives({ blobs, index: store, ids, logger })
  const engine = opened.use(
    await createEngine({
      store,
      driver,
      gateway,
      archives,
      checkpointsPerSession,
      warmSandboxes,
      costs,
      sealing,
      clock,
      ids,
      logger,
      serverNumber,
    }),
  )
  const check = new KeyCheck({ store, clock })
  const ports = opened.use(await openPorts(options, { store, engine, keys, check, clock, logger }))
  const config = {
    listenHost: options.host,
    allowedHosts: options.allowedHosts,
    allowedOrigins: options.allowedOrigins,
  }
  const app = createApp({ store, engine, notes, keys, check, ports, sealing, config, clock, ids, logger })
  const http = createApiServer(app)
  const url = `http://${nameOf(options.host)}:${await listen(http, options, settings.listen.env)}`
  const parts = opened.move()
  return { url, [Symbol.asyncDispose]: () => close(http, parts) }
}

/** What is under way may come to its end first. */
async function close(http: HttpServer, parts: AsyncDisposable): Promise<void> {
  const closed = once(http, 'close')
  http.close()
  // A connection may become idle at any time while the others are drained.
  const idle = setInterval(() => http.closeIdleConnections(), IDLE_CHECK_MS)
  const timer = setTimeout(() => http.closeAllConnections(), DRAIN_MS)
  await parts[Symbol.asyncDispose]()
  await closed
  clearInterval(idle)
  clearTimeout(timer)
}

interface OpenPorts extends AsyncDisposable {
  readonly addresses: PortAddresses
  readonly tokens: PortTokens
}

/** Serves ports of sandboxes. Where the operator named no address, it is one as near to the server's as is free. */
async function openPorts(
  { ports, port }: ServerOptions,
  deps: Pick<PortListenerDeps, 'store' | 'engine' | 'keys' | 'check' | 'clock' | 'logger'>,
): Promise<OpenPorts> {
  const tokens = new PortTokens(await deps.store.ensurePortSecret({ fresh: randomBytes(32).toString('base64url') }))
  const http = createPortServer()
  const near = { host: '127.0.0.1', port: port === 0 || port === MAX_PORT ? 0 : port + 1 }
  const bound = await listen(http, ports?.listen ?? near, settings.portsListen.env).catch((error: unknown) => {
    if (ports?.listen !== undefined) throw error
    deps.logger.warn({ err: error }, 'ports of sandboxes are served on another port than usual')
    return listen(http, { ...near, port: 0 }, settings.portsListen.env)
  })
  const addresses = new PortAddresses(ports?.domain ?? settings.portsDomain.default, bound)
  const listener = new PortListener(http, { ...deps, addresses, tokens })
  return { addresses, tokens, [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose]() }
}

/** Answers the port. Throws `unavailable` when the address cannot be had. */
async function listen(
  http: HttpServer,
  { host, port }: { readonly host: string; readonly port: number },
  setting: string,
): Promise<number> {
  const listening = once(http, 'listening')
  http.listen(port, host)
  try {
    await listening
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new BerthError('unavailable', `cannot listen on ${nameOf(host)}:${port}: ${reason}; see ${setting}`, {
      cause,
    })
  }
  const address = http.address()
  return typeof address === 'object' && address !== null ? address.port : port
}

function nameOf(host: string): string {
  return host.includes(':') ? `[${host}]` : host
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
