import type { UpdateEnvironmentBody } from '@berth/protocol/api/environment'
import {
  type EnvironmentBody,
  parseEnvironmentBody,
  type StoredEnvironment,
  updatedEnvironment,
} from '../domain/environment.ts'
import type { Window } from '../domain/page.ts'
import { invalid, notFound } from '../domain/refusal.ts'
import { findAgent } from './agents.ts'
import type { Db } from './store.ts'
import { toScan } from './window.ts'

interface EnvironmentKey {
  readonly workspaceId: string
  readonly id: string
}

const columns = ['ord', 'id', 'body', 'created_at', 'updated_at', 'archived_at'] as const

export async function createEnvironment(
  db: Db,
  args: EnvironmentKey & { body: EnvironmentBody; now: string },
): Promise<StoredEnvironment> {
  await checkPool(db, args.workspaceId, args.body)
  return db
    .insertInto('environments')
    .values({
      id: args.id,
      workspace_id: args.workspaceId,
      body: JSON.stringify(args.body),
      warm_size: args.body.config.berth.warm_pool.size,
      created_at: args.now,
      updated_at: args.now,
      archived_at: null,
    })
    .returning(columns)
    .executeTakeFirstOrThrow()
}

export async function getEnvironment(db: Db, args: EnvironmentKey): Promise<StoredEnvironment> {
  const environment = await db
    .selectFrom('environments')
    .select(columns)
    .where('workspace_id', '=', args.workspaceId)
    .where('id', '=', args.id)
    .executeTakeFirst()
  if (environment === undefined) throw notFound('environment', args.id, 'environment_not_found')
  return environment
}

export async function listEnvironments(
  db: Db,
  args: { workspaceId: string; includeArchived: boolean; window: Window },
): Promise<StoredEnvironment[]> {
  const scan = toScan(args.window)
  let query = db
    .selectFrom('environments')
    .select(columns)
    .where('workspace_id', '=', args.workspaceId)
    .orderBy('ord', scan.sort)
    .limit(scan.rows)
  if (args.window.from !== undefined) query = query.where('ord', scan.beyond, args.window.from)
  if (!args.includeArchived) query = query.where('archived_at', 'is', null)
  for (const [comparison, time] of scan.created) query = query.where('created_at', comparison, time)
  return query.execute()
}

/** Sessions that exist keep the configuration they were made with. */
export async function updateEnvironment(
  db: Db,
  args: EnvironmentKey & { change: UpdateEnvironmentBody; now: string },
): Promise<StoredEnvironment> {
  const stored = await getEnvironment(db, args)
  if (stored.archived_at !== null) {
    throw invalid('environment', `${args.id} is archived and cannot be changed`, 'environment_archived')
  }
  const current = parseEnvironmentBody(stored.body)
  const updated = updatedEnvironment(current, args.change)
  if (updated === current) return stored
  if (updated.config.berth.warm_pool.agent !== current.config.berth.warm_pool.agent) {
    await checkPool(db, args.workspaceId, updated)
  }
  const body = JSON.stringify(updated)
  const warm_size = updated.config.berth.warm_pool.size
  await db
    .updateTable('environments')
    .set({ body, warm_size, updated_at: args.now })
    .where('id', '=', args.id)
    .execute()
  return { ...stored, body, updated_at: args.now }
}

/** Only an agent that sessions may have is kept warm. */
async function checkPool(db: Db, workspaceId: string, { config }: EnvironmentBody): Promise<void> {
  const { agent: id } = config.berth.warm_pool
  if (id === null) return
  const agent = await findAgent(db, { workspaceId, id })
  const field = 'config.berth.warm_pool.agent'
  if (agent === undefined) throw invalid(field, `there is no agent ${id}`)
  if (agent.archived_at !== null) throw invalid(field, `${id} is archived`)
}

/** No new sessions from now on. Archiving what is archived changes nothing. */
export async function archiveEnvironment(db: Db, args: EnvironmentKey & { now: string }): Promise<StoredEnvironment> {
  const stored = await getEnvironment(db, args)
  if (stored.archived_at !== null) return stored
  await db.updateTable('environments').set({ archived_at: args.now }).where('id', '=', args.id).execute()
  return { ...stored, archived_at: args.now }
}

/** Refused while there are sessions of it, archived ones included. */
export async function deleteEnvironment(db: Db, args: EnvironmentKey): Promise<void> {
  await getEnvironment(db, args)
  const session = await db
    .selectFrom('sessions')
    .select('id')
    .where('environment_id', '=', args.id)
    .limit(1)
    .executeTakeFirst()
  if (session !== undefined) {
    throw invalid('environment', `${args.id} still has sessions (${session.id}); delete them first, or archive it`)
  }
  await db.deleteFrom('environments').where('id', '=', args.id).execute()
}
