/**
 * The engine: what happens to sessions over time. HTTP calls it for everything that appends to a session's log; it answers when the
 * change is durable and published. Reads go to the store directly.
 */
import type { Selectable } from 'kysely'
import type { ClientEvent } from '@berth/protocol/api/client-event'
import type { SessionEvent } from '@berth/protocol/api/event'
import type { Database } from '../store/schema.ts'
import type { FeedItem, Subscription } from './feed.ts'

export type SessionRow = Selectable<Database['sessions']>

export interface NewSession {
  readonly workspaceId: string
  readonly environmentId: string
  /** The environment's config as it stands now, JSON-able; the session keeps this copy. */
  readonly environmentConfig: object
  readonly agentId: string
  readonly agentVersion: number
  /** The effective agent, resolved, as it goes on the wire. */
  readonly agent: object
  readonly title: string | null
  readonly metadata: Readonly<Record<string, string>>
  readonly initialEvents: readonly ClientEvent[]
}

/** What changes; a member left out stays. `agent` is the whole effective snapshot and is allowed only while idle. */
export interface SessionChange {
  readonly title?: string | null
  readonly metadata?: Readonly<Record<string, string>>
  readonly agent?: object
}

interface SessionKey {
  readonly workspaceId: string
  readonly sessionId: string
}

export interface Engine extends AsyncDisposable {
  createSession(session: NewSession): Promise<SessionRow>
  /**
   * `change` computes from the row, inside the transaction's view, what is to change (undefined: nothing); it is called on this thread and
   * the write is refused with `conflict` if the row has moved on meanwhile three times in a row. Emits `session.updated` when something did.
   */
  updateSession(key: SessionKey, change: (row: SessionRow) => SessionChange | undefined): Promise<SessionRow>
  /** `invalid_request` while running. Ends the sandbox. */
  archiveSession(key: SessionKey): Promise<SessionRow>
  /** `invalid_request` while running. Removes everything of it. */
  deleteSession(key: SessionKey): Promise<void>
  /** Accepts a batch as a whole or not at all; answers the stored events in request order. */
  sendEvents(key: SessionKey & { readonly events: readonly ClientEvent[] }): Promise<SessionEvent[]>
  /** Everything of these kinds that is published after the call returns. The caller checks that the session is the workspace's. */
  subscribe(sessionId: string, kinds: readonly FeedItem['kind'][]): Subscription
  /** Reasons why the server cannot take work now; empty: ready. */
  notReady(): string[]
}
