import { randomUUID } from 'node:crypto'
import type { ClientEvent } from '@berth/protocol/api/client-event'
import { freshTurn } from '../domain/turn/turn-state.ts'
import { acceptInto } from './accept-events.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { Db } from './store.ts'

export interface CreateSessionArgs {
  readonly id: string
  readonly threadId: string
  readonly workspaceId: string
  readonly environmentId: string
  readonly environmentConfig: object
  readonly agentId: string
  readonly agentVersion: number
  readonly agent: object
  readonly title: string | null
  readonly metadata: Readonly<Record<string, string>>
  readonly initialEvents: readonly ClientEvent[]
  readonly now: string
}

/** The session and its initial events, as one. */
export async function createSession(db: Db, args: CreateSessionArgs): Promise<Committed> {
  const row = await db
    .insertInto('sessions')
    .values({
      id: args.id,
      workspace_id: args.workspaceId,
      environment_id: args.environmentId,
      environment: JSON.stringify(args.environmentConfig),
      agent_id: args.agentId,
      agent_version: args.agentVersion,
      agent: JSON.stringify(args.agent),
      title: args.title,
      metadata: JSON.stringify(args.metadata),
      status: 'idle',
      stop_reason: null,
      created_at: args.now,
      updated_at: args.now,
      archived_at: null,
      thread_id: args.threadId,
      last_seq: 0,
      last_sdk_seq: 0,
      sdk_session_id: randomUUID(),
      has_transcript: 0,
      sandbox_id: null,
      opened: null,
      link_received: 0,
      link_sent: 0,
      turn: JSON.stringify(freshTurn),
      usage: '[]',
      lease_holder: null,
      lease_until: null,
      epoch: 0,
      failures: 0,
      needs_restore: 0,
      active_ms: 0,
      active_since: null,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  const log = new SessionLog(db, row, args.now)
  for (const event of args.initialEvents) await acceptInto(db, log, event)
  return log.save()
}
