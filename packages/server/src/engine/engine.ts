/**
 * The engine: what happens to sessions over time. HTTP calls it for everything that appends to a session's log; it answers when the
 * change is durable and published. Reads go to the store directly. A call that is given the request it is for has its effect once, and
 * answers the same whenever it is made for that request again.
 */
import type { Selectable } from 'kysely'
import type { ClientEvent } from '@berth/protocol/api/client-event'
import type { SessionEvent } from '@berth/protocol/api/event'
import type { CreateSessionBody, UpdateSessionBody } from '@berth/protocol/api/session'
import type { EgressDecisions } from '@berth/protocol/gateway'
import type { EgressPage } from '@berth/protocol/gateway-client'
import type { Once } from '../store/run-once.ts'
import type { Database } from '../store/schema.ts'
import type { FeedItem, Subscription } from './feed.ts'
import type { Ports } from './ports.ts'
import type { UsageReport } from './usage-report.ts'
import type { Vaults } from './vaults.ts'
import type { SessionStorage } from './session-storage.ts'

export type SessionRow = Selectable<Database['sessions']>

interface SessionKey {
  readonly workspaceId: string
  readonly sessionId: string
}

export interface Engine extends AsyncDisposable {
  createSession(
    session: { readonly workspaceId: string; readonly body: CreateSessionBody },
    once?: Once,
  ): Promise<SessionRow>
  /** Emits `session.updated` when it changes something. */
  updateSession(key: SessionKey & { readonly body: UpdateSessionBody }, once?: Once): Promise<SessionRow>
  /** `invalid_request` while running. Ends the sandbox. */
  archiveSession(key: SessionKey, once?: Once): Promise<SessionRow>
  /** `invalid_request` while running. Removes everything of it. */
  deleteSession(key: SessionKey): Promise<void>
  /** Accepts a batch as a whole or not at all; answers the stored events in request order. */
  sendEvents(key: SessionKey & { readonly events: readonly ClientEvent[] }, once?: Once): Promise<SessionEvent[]>
  /** Checkpoints, files and forks. */
  readonly storage: Pick<SessionStorage, 'checkpoint' | 'fork' | 'list' | 'read' | 'write'>
  /** What was metered. */
  readonly usage: Pick<UsageReport, 'list'>
  /** Changes of credentials: the gateway has them when they resolve. */
  readonly vaults: Pick<Vaults, keyof Vaults>
  /** Programs in the sandbox that listen. */
  readonly ports: Pick<Ports, 'sandboxOf' | 'connect'>
  /** What was decided about a session's way out, newest first. The caller checks that the session is the workspace's. */
  egress(sessionId: string, page: EgressPage): Promise<EgressDecisions>
  /** Everything of these kinds that is published after the call returns. The caller checks that the session is the workspace's. */
  subscribe(sessionId: string, kinds: readonly FeedItem['kind'][]): Subscription
  /** What environments keep warm may have changed. */
  poolsChanged(): void
  /** Reasons why the server cannot take work now; empty: ready. */
  notReady(): string[]
}
