/** Sandboxes that are kept started for sessions to come: what is wanted, what there is, and how one becomes a session's. */
import type { SessionConfig } from '@berth/protocol'
import { toWireAgent } from '../domain/agent.ts'
import { parseEnvironmentBody } from '../domain/environment.ts'
import { resolveSessionAgent } from '../domain/session.ts'
import { findAgent } from './agents.ts'
import { findNewestCheckpoint } from './checkpoints.ts'
import { assignSandbox, type AssignSandboxArgs } from './sandboxes.ts'
import { hasSeenTools } from './seen-tools.ts'
import type { Db } from './store.ts'
import { listTranscriptSizes } from './transcripts.ts'

/** What an environment wants to have ready. */
export interface WantedPool {
  readonly environmentId: string
  readonly workspaceId: string
  readonly size: number
  /** As a session that is made now would have them, JSON. */
  readonly environment: string
  /** null: a sandbox without a CLI. */
  readonly agent: string | null
}

/** Of every workspace, oldest environment first. One whose agent is archived or gone wants nothing. */
export async function listWantedPools(db: Db, _args: object): Promise<WantedPool[]> {
  const rows = await db
    .selectFrom('environments')
    .select(['id', 'workspace_id', 'body'])
    .where('warm_size', '>', 0)
    .where('archived_at', 'is', null)
    .orderBy('ord')
    .execute()
  const pools: WantedPool[] = []
  for (const row of rows) {
    const { config } = parseEnvironmentBody(row.body)
    const { size, agent: agentId } = config.berth.warm_pool
    const wanted = { environmentId: row.id, workspaceId: row.workspace_id, size, environment: JSON.stringify(config) }
    if (agentId === null) pools.push({ ...wanted, agent: null })
    else {
      const agent = await findAgent(db, { workspaceId: row.workspace_id, id: agentId })
      if (agent === undefined || agent.archived_at !== null) continue
      pools.push({ ...wanted, agent: JSON.stringify(resolveSessionAgent(toWireAgent(agent), agentId)) })
    }
  }
  return pools
}

export interface AddWarmSandboxArgs extends Omit<AssignSandboxArgs, 'sessionId' | 'epoch'> {
  readonly environmentId: string
  readonly workspaceId: string
}

/** A sandbox is about to be made that belongs to no session. */
export async function addWarmSandbox(db: Db, args: AddWarmSandboxArgs): Promise<void> {
  await db
    .insertInto('sandboxes')
    .values({
      id: args.sandboxId,
      workspace_id: args.workspaceId,
      driver: args.driver,
      nonce: args.nonce,
      state: 'starting',
      created_at: args.now,
      warm_for: args.environmentId,
    })
    .execute()
}

export async function listWarmSandboxes(db: Db, _args: object): Promise<string[]> {
  const rows = await db.selectFrom('sandboxes').select('id').where('warm_for', 'is not', null).execute()
  return rows.map(({ id }) => id)
}

export interface ClaimWarmSandboxArgs extends AssignSandboxArgs {
  /** Of the CLI that waits in it; null: there is none. */
  readonly parked: { readonly name: string; readonly config: SessionConfig } | null
}

/**
 * The session takes the sandbox, and the conversation that its CLI has begun, for good. Answers false, and changes nothing, where the sandbox is not to be
 * had any more, or its CLI knows nothing of what the session has been through. `conflict` when the lease has passed to another.
 */
export async function claimWarmSandbox(db: Db, args: ClaimWarmSandboxArgs): Promise<boolean> {
  const { sessionId, sandboxId, parked } = args
  const session = await db
    .selectFrom('sessions')
    .select(['workspace_id', 'sandbox_id'])
    .where('id', '=', sessionId)
    .executeTakeFirstOrThrow()
  if (session.sandbox_id !== null || (parked !== null && (await hasHistory(db, sessionId)))) return false
  const taken = await db
    .deleteFrom('sandboxes')
    .where('id', '=', sandboxId)
    .where('workspace_id', '=', session.workspace_id)
    .where('warm_for', 'is not', null)
    .returning('id')
    .executeTakeFirst()
  if (taken === undefined) return false
  // From here on it is as one that was made for the session.
  await assignSandbox(db, args)
  await db.updateTable('sandboxes').set({ state: 'ready' }).where('id', '=', sandboxId).execute()
  if (parked !== null) await takeCli(db, sessionId, parked)
  return true
}

/** Is there anything that a new sandbox of the session has to be given? */
async function hasHistory(db: Db, sessionId: string): Promise<boolean> {
  if (Object.keys(await listTranscriptSizes(db, { sessionId })).length > 0) return true
  if (await hasSeenTools(db, { sessionId })) return true
  return (await findNewestCheckpoint(db, { sessionId })) !== undefined
}

/** The `open` that the CLI was started with becomes the session's first command. */
async function takeCli(
  db: Db,
  sessionId: string,
  { name, config }: NonNullable<ClaimWarmSandboxArgs['parked']>,
): Promise<void> {
  const { sdk_session_id, resume: _, ...opened } = config
  const body = JSON.stringify({ type: 'open', config, transcripts: {}, seen_tools: [] })
  await db.insertInto('outbox').values({ session_id: sessionId, seq: 1, body }).execute()
  await db
    .updateTable('sessions')
    .set({ name_inside: name, sdk_session_id, opened: JSON.stringify(opened), link_sent: 1 })
    .where('id', '=', sessionId)
    .execute()
}
