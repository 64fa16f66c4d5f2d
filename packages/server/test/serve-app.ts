/** The real application on a real port with a real SQLite file; the one thing missing is a machine for sandboxes, which nothing here needs. */
import { mkdtemp, rm } from 'node:fs/promises'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Anthropic from '@anthropic-ai/sdk'
import { BerthError } from '@berth/protocol'
import { type GatewayClient, openGatewayClient } from '@berth/protocol/gateway-client'
import type { SandboxDriver } from '@berth/sandbox'
import { pino } from 'pino'
import { type Clock, systemClock } from '../src/domain/clock.ts'
import { createIds } from '../src/domain/ids.ts'
import { PortAddresses } from '../src/domain/port-address.ts'
import { PortTokens } from '../src/domain/port-token.ts'
import { newKey } from '../src/domain/key.ts'
import { Archives } from '../src/blobs/archives.ts'
import { openFileBlobs } from '../src/blobs/fs/file-blobs.ts'
import { createEngine } from '../src/engine/create-engine.ts'
import { type ApiLimits, createApiServer } from '../src/http/api-server.ts'
import { createApp } from '../src/http/app.ts'
import { listCosts, testSealing } from './directories.ts'
import type { Engine } from '../src/engine/engine.ts'
import type { App, HttpConfig } from '../src/http/context.ts'
import { KeyCheck } from '../src/http/key-check.ts'
import { KeyWatch } from '../src/http/key-watch.ts'
import { RequestNotes } from '../src/http/request-notes.ts'
import { openSqliteStore } from '../src/store/sqlite/open.ts'
import type { Store } from '../src/store/store.ts'

export interface TestServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly app: App
  readonly store: Store
  readonly engine: Engine
  readonly databasePath: string
  readonly key: string
  readonly client: Anthropic
  /** A key of another workspace, which is made for it. */
  otherWorkspaceKey(): Promise<string>
  /** Raw request with the key. */
  fetch(path: string, init?: RequestInit): Promise<Response>
  readonly logged: string[]
  /** How many there are to the server now. */
  connections(): Promise<number>
  /** Bytes that each connection keeps because nobody takes them. */
  unsent(): number[]
}

export function clientOf(url: string, key: string): Anthropic {
  return new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 })
}

interface Surroundings {
  /** Where the database is, and stays; default: a directory that ends with the server. */
  readonly dir?: string
  readonly clock?: Clock
  /** Between two rounds in which notes of requests are let go. */
  readonly roundMs?: number
  readonly limits?: Partial<ApiLimits>
  /** Default: one that does not answer. */
  readonly gateway?: GatewayClient
}

const ports = { addresses: new PortAddresses('localhost', 7072), tokens: new PortTokens('secret of the test') }

export async function serveApp(
  config: Partial<HttpConfig> = {},
  { dir: givenDir, clock = systemClock, roundMs = 1_000, gateway: givenGateway, limits }: Surroundings = {},
): Promise<TestServer> {
  await using cleanup = new AsyncDisposableStack()
  const dir = givenDir ?? (await mkdtemp(join(tmpdir(), 'berth-http-')))
  if (givenDir === undefined) cleanup.defer(() => rm(dir, { recursive: true }))
  const databasePath = join(dir, 'berth.db')
  const store = cleanup.use(await openSqliteStore(databasePath))
  const ids = createIds(clock)
  const logged: string[] = []
  const logger = pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) })
  const key = await addKey(store, 'wrkspc_test')
  const parts = { store, clock, ids, logger }
  const notes = cleanup.use(new RequestNotes({ ...parts, roundMs }))
  const keys = cleanup.use(new KeyWatch(parts))
  const gateway = givenGateway ?? openGatewayClient(join(dir, 'no-gateway.sock'))
  const blobs = cleanup.use(await openFileBlobs(join(dir, 'blobs')))
  const archives = new Archives({ ...parts, blobs, index: store })
  const deps = {
    ...parts,
    driver: noSandboxes,
    gateway,
    archives,
    checkpointsPerSession: 50,
    warmSandboxes: 0,
    costs: listCosts,
    sealing: testSealing,
    serverNumber: 1,
  }
  const engine = cleanup.use(await createEngine(deps))
  const listening = { listenHost: '127.0.0.1', allowedHosts: [], allowedOrigins: [], ...config }
  const check = new KeyCheck(parts)
  const app = createApp({ ...parts, engine, notes, keys, check, ports, sealing: testSealing, config: listening })
  const server = createApiServer(app, limits)
  const sockets = socketsOf(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.defer(() => close(server))
  const url = `http://127.0.0.1:${portOf(server.address())}`
  const held = cleanup.move()
  return {
    url,
    port: portOf(server.address()),
    app,
    store,
    engine,
    databasePath,
    key,
    client: clientOf(url, key),
    otherWorkspaceKey: () => addKey(store, 'wrkspc_other'),
    fetch: (path, init = {}) => fetch(url + path, withKey(init, key)),
    logged,
    connections: promisify(server.getConnections.bind(server)),
    unsent: () => [...sockets].map(({ writableLength }) => writableLength),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
}

/** That are connected, as long as they are. */
function socketsOf(server: Server): ReadonlySet<Socket> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => void sockets.add(socket.once('close', () => sockets.delete(socket))))
  return sockets
}

function withKey(init: RequestInit, key: string): RequestInit {
  const headers = new Headers(init.headers)
  if (!headers.has('authorization')) headers.set('authorization', `Bearer ${key}`)
  if (init.body !== undefined && !headers.has('content-type')) headers.set('content-type', 'application/json')
  return { ...init, headers }
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function addKey(store: Store, workspaceId: string): Promise<string> {
  const now = systemClock.now().toISOString()
  const { key, hash, hint } = newKey()
  await store.ensureWorkspace({ id: workspaceId, name: workspaceId, now })
  await store.createKey({ workspaceId, id: `apikey_${hash.slice(0, 26)}`, name: 'test', hash, hint, now })
  return key
}

const refuse = () => Promise.reject(new BerthError('unavailable', 'no sandboxes here'))

/** A machine that can make no sandbox. */
export const noSandboxes: SandboxDriver = {
  name: 'none',
  capabilities: {
    list: true,
    diskQuota: false,
    restart: false,
    suspend: false,
    snapshot: false,
    endpoint: false,
    exec: false,
    setNetworkPolicy: false,
  },
  check: () => Promise.resolve([]),
  create: refuse,
  restart: () => Promise.reject(new BerthError('unsupported', 'sandboxes here are not restarted')),
  get: () => Promise.resolve(undefined),
  renew: refuse,
  destroy: () => Promise.resolve(),
  list: () => Promise.resolve([]),
  [Symbol.asyncDispose]: () => Promise.resolve(),
}
