/** What every route has at hand. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { HttpBindings } from '@hono/node-server'
import type { Sealing } from '@berth/protocol/sealing'
import type { Logger } from 'pino'
import type { Clock } from '../domain/clock.ts'
import type { Ids } from '../domain/ids.ts'
import type { PortAddresses } from '../domain/port-address.ts'
import type { PortTokens } from '../domain/port-token.ts'
import type { Engine } from '../engine/engine.ts'
import type { Once } from '../store/run-once.ts'
import type { Store } from '../store/store.ts'
import type { KeyCheck } from './key-check.ts'
import type { KeyWatch } from './key-watch.ts'
import type { RequestNotes } from './request-notes.ts'

export interface HttpDeps {
  readonly store: Store
  readonly engine: Engine
  readonly notes: RequestNotes
  readonly keys: KeyWatch
  readonly check: KeyCheck
  readonly ports: { readonly addresses: PortAddresses; readonly tokens: PortTokens }
  readonly sealing: Sealing
  readonly config: HttpConfig
  readonly clock: Clock
  readonly ids: Ids
  readonly logger: Logger
}

export interface HttpConfig {
  /** The address that the server listens on, without its port. */
  readonly listenHost: string
  /** Names, besides loopback and the listen address, under which the server may be called: `name` or `name:port`. */
  readonly allowedHosts: readonly string[]
  /** Origins of web pages, besides the server's own, that may call it. */
  readonly allowedOrigins: readonly string[]
  /** Milliseconds in which a reader has to take something of an answer that is not through; default two minutes. */
  readonly readWithinMs?: number
}

export interface AppEnv {
  // Absent where the app is called without a server, as `app.request` does.
  Bindings: Partial<HttpBindings>
  Variables: {
    requestId: string
    /** Of the key that the request came with; set on every route that asks for one. */
    workspaceId: string
    keyId: string
    /** null: it lasts. */
    keyExpiresAt: string | null
    /** The body's text; absent where there was none. */
    body?: string
    /** For the one call to store or engine with which a POST has its effect. */
    once?: Once
  }
}

export type App = OpenAPIHono<AppEnv>

/** Adds one resource's routes. */
export type AddRoutes = (app: App, deps: HttpDeps) => void
