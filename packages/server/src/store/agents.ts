import { BerthError } from '@berth/protocol'
import type { UpdateAgentBody } from '@berth/protocol/api/agent'
import { type AgentBody, parseAgentBody, type StoredAgent, updatedAgent } from '../domain/agent.ts'
import type { Window } from '../domain/page.ts'
import { invalid, notFound } from '../domain/refusal.ts'
import type { Db } from './store.ts'
import { toScan } from './window.ts'

interface AgentKey {
  readonly workspaceId: string
  readonly id: string
}

const columns = [
  'agents.ord',
  'agents.id',
  'agent_versions.version',
  'agent_versions.body',
  'agents.created_at',
  'agent_versions.created_at as updated_at',
  'agents.archived_at',
] as const

export async function createAgent(db: Db, args: AgentKey & { body: AgentBody; now: string }): Promise<StoredAgent> {
  await db
    .insertInto('agents')
    .values({
      id: args.id,
      workspace_id: args.workspaceId,
      version: 1,
      created_at: args.now,
      updated_at: args.now,
      archived_at: null,
    })
    .execute()
  await insertVersion(db, args, 1)
  return getAgent(db, args)
}

/** The latest version, or the one named; undefined when there is none. */
export async function findAgent(
  db: Db,
  args: AgentKey & { version?: number | undefined },
): Promise<StoredAgent | undefined> {
  const query = db
    .selectFrom('agents')
    .innerJoin('agent_versions', 'agent_versions.agent_id', 'agents.id')
    .select(columns)
    .where('agents.workspace_id', '=', args.workspaceId)
    .where('agents.id', '=', args.id)
  const { version } = args
  if (version === undefined) {
    return query.whereRef('agent_versions.version', '=', 'agents.version').executeTakeFirst()
  }
  return query.where('agent_versions.version', '=', version).executeTakeFirst()
}

export async function getAgent(db: Db, args: AgentKey & { version?: number | undefined }): Promise<StoredAgent> {
  const agent = await findAgent(db, args)
  if (agent !== undefined) return agent
  throw notFound('agent', args.version === undefined ? args.id : `${args.id} version ${args.version}`)
}

/** The latest version of each. */
export async function listAgents(
  db: Db,
  args: { workspaceId: string; includeArchived: boolean; window: Window },
): Promise<StoredAgent[]> {
  const scan = toScan(args.window)
  let query = db
    .selectFrom('agents')
    .innerJoin('agent_versions', (join) =>
      join.onRef('agent_versions.agent_id', '=', 'agents.id').onRef('agent_versions.version', '=', 'agents.version'),
    )
    .select(columns)
    .where('agents.workspace_id', '=', args.workspaceId)
    .orderBy('agents.ord', scan.sort)
    .limit(scan.rows)
  if (args.window.from !== undefined) query = query.where('agents.ord', scan.beyond, args.window.from)
  if (!args.includeArchived) query = query.where('agents.archived_at', 'is', null)
  for (const [comparison, time] of scan.created) query = query.where('agents.created_at', comparison, time)
  return query.execute()
}

/** Every version of one agent; `ord` is the version's. */
export async function listAgentVersions(db: Db, args: AgentKey & { window: Window }): Promise<StoredAgent[]> {
  const scan = toScan(args.window)
  let query = db
    .selectFrom('agents')
    .innerJoin('agent_versions', 'agent_versions.agent_id', 'agents.id')
    .select(columns)
    .select('agent_versions.ord')
    .where('agents.workspace_id', '=', args.workspaceId)
    .where('agents.id', '=', args.id)
    .orderBy('agent_versions.ord', scan.sort)
    .limit(scan.rows)
  if (args.window.from !== undefined) query = query.where('agent_versions.ord', scan.beyond, args.window.from)
  return query.execute()
}

/** A new version, or the present one when nothing changes. `conflict` when the body names another version than the present one. */
export async function updateAgent(
  db: Db,
  args: AgentKey & { change: UpdateAgentBody; now: string },
): Promise<StoredAgent> {
  const stored = await getAgent(db, args)
  const { version } = args.change
  if (stored.archived_at !== null) throw invalid('agent', `${args.id} is archived and cannot be changed`)
  if (version !== undefined && version !== stored.version) {
    throw new BerthError('conflict', `version: the agent is at version ${stored.version}, the request names ${version}`)
  }
  const current = parseAgentBody(stored.body)
  const body = updatedAgent(current, args.change)
  if (body === current) return stored
  const next = stored.version + 1
  await insertVersion(db, { id: args.id, body, now: args.now }, next)
  await db.updateTable('agents').set({ version: next, updated_at: args.now }).where('id', '=', args.id).execute()
  return getAgent(db, { workspaceId: args.workspaceId, id: args.id })
}

/** For good. Archiving what is archived changes nothing. */
export async function archiveAgent(db: Db, args: AgentKey & { now: string }): Promise<StoredAgent> {
  const stored = await getAgent(db, args)
  if (stored.archived_at !== null) return stored
  await db.updateTable('agents').set({ archived_at: args.now }).where('id', '=', args.id).execute()
  return { ...stored, archived_at: args.now }
}

async function insertVersion(
  db: Db,
  args: { id: string; body: AgentBody; now: string },
  version: number,
): Promise<void> {
  await db
    .insertInto('agent_versions')
    .values({ agent_id: args.id, version, body: JSON.stringify(args.body), created_at: args.now })
    .execute()
}
