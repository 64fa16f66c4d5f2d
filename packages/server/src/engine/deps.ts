/** What the engine's parts share: injected once, by `main.ts`. */
import type { GatewayClient } from '@berth/protocol/gateway-client'
import type { SandboxDriver } from '@berth/sandbox'
import type { Logger } from 'pino'
import type { Sealing } from '@berth/protocol/sealing'
import type { Archives } from '../blobs/archives.ts'
import type { Costs } from '../domain/costs.ts'
import type { Clock } from '../domain/clock.ts'
import type { Ids } from '../domain/ids.ts'
import type { Store } from '../store/store.ts'
import type { Feed } from './feed.ts'
import type { Leases } from './leases.ts'
import type { VaultPushes } from './vault-pushes.ts'

export interface EngineDeps {
  readonly store: Store
  readonly driver: SandboxDriver
  readonly gateway: GatewayClient
  readonly archives: Archives
  /** How many checkpoints a session keeps. */
  readonly checkpointsPerSession: number
  /** How many sandboxes may be kept started for sessions to come. */
  readonly warmSandboxes: number
  readonly costs: Costs
  /** Of vaults. */
  readonly sealing: Sealing
  readonly clock: Clock
  readonly ids: Ids
  readonly logger: Logger
  /** Number of this server on its database; grows with every start. */
  readonly serverNumber: number
}

export interface ActorDeps extends EngineDeps {
  readonly feed: Feed
  readonly leases: Leases
  readonly pushes: VaultPushes
}

export function isoNow(clock: Clock): string {
  return clock.now().toISOString()
}
