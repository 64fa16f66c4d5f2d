/** Which sessions live together: each enters a group when it is made, and the group goes with the last of them. */
import type { BerthError } from '@berth/protocol'
import { environmentConfig, type EnvironmentConfig } from '@berth/protocol/api/environment'
import { inside } from '@berth/sandbox'
import { newId } from '../domain/ids.ts'
import { invalid } from '../domain/refusal.ts'
import type { Database } from './schema.ts'
import type { Db } from './store.ts'

/** Beyond are those that systems give a meaning to. */
const LAST_UID = 59_999
/** Each has a model socket, a way out and a CLI. */
const MAX_SESSIONS = 64

/** What a sandbox is made with. */
const sandboxConfig = environmentConfig.shape.berth.pick({ driver: true, image: true, resources: true })

export interface EnterGroupArgs {
  readonly workspaceId: string
  readonly sessionId: string
  readonly environmentId: string
  readonly environment: EnvironmentConfig
  /** Of the sandbox that it wants to share. */
  readonly name: string | null
}

/** A session's place in its group, and the environment as it is for it. */
export type Entered = Pick<Database['sessions'], 'group_id' | 'sandbox_name' | 'uid' | 'environment'>

export async function enterGroup(db: Db, args: EnterGroupArgs): Promise<Entered> {
  const { environment, name, sessionId: id } = args
  if (name !== null) return joinGroup(db, args, name)
  await insertGroup(db, args, { id, name, next_uid: inside.firstUid + 1 })
  return { group_id: id, sandbox_name: null, uid: inside.firstUid, environment: JSON.stringify(environment) }
}

/** `invalid_request` where the environment's sandboxes are not for sharing, and when the sandbox is full. */
async function joinGroup(db: Db, args: EnterGroupArgs, name: string): Promise<Entered> {
  const { environment } = args
  refuseFleeting(environment)
  const group = await findGroup(db, args, name)
  if (group === undefined) {
    const id = newId('group')
    // The first uid owns what is above the sessions' directories, and is given to none of them.
    const uid = inside.firstUid + 1
    await insertGroup(db, args, { id, name, next_uid: uid + 1 })
    return { group_id: id, sandbox_name: name, uid, environment: JSON.stringify(environment) }
  }
  const living = await countLiving(db, group.id)
  if (living >= MAX_SESSIONS) throw full(name, `${MAX_SESSIONS} sessions live there`)
  if (group.next_uid > LAST_UID)
    throw full(name, 'it has had too many sessions; archive all of them, or take another name')
  // Where nobody lives there is no sandbox: this one is the first again.
  const sandbox = living === 0 ? sandboxConfig.parse(environment.berth) : sandboxConfig.parse(JSON.parse(group.sandbox))
  await db
    .updateTable('session_groups')
    .set({ next_uid: group.next_uid + 1, sandbox: JSON.stringify(sandbox) })
    .where('id', '=', group.id)
    .execute()
  const own = { ...environment, berth: { ...environment.berth, ...sandbox } }
  return { group_id: group.id, sandbox_name: name, uid: group.next_uid, environment: JSON.stringify(own) }
}

/** The session is no more: neither is its group, where it was the last. */
export async function leaveGroup(db: Db, groupId: string): Promise<void> {
  const other = await db.selectFrom('sessions').select('id').where('group_id', '=', groupId).executeTakeFirst()
  if (other === undefined) await db.deleteFrom('session_groups').where('id', '=', groupId).execute()
}

/** A sandbox that is put away for the sake of one session would be taken from the others. */
function refuseFleeting(environment: EnvironmentConfig): void {
  const { type, approval_hold } = environment.berth.lifecycle
  const field = 'berth.sandbox'
  if (type !== 'long_running') throw invalid(field, `needs an environment whose lifecycle is long_running, not ${type}`)
  if (approval_hold !== null) throw invalid(field, 'needs an environment whose lifecycle has no approval_hold')
}

function full(name: string, why: string): BerthError {
  return invalid('berth.sandbox', `no more sessions in ${name}: ${why}`)
}

async function findGroup(
  db: Db,
  { workspaceId, environmentId }: EnterGroupArgs,
  name: string,
): Promise<Database['session_groups'] | undefined> {
  return db
    .selectFrom('session_groups')
    .selectAll()
    .where('workspace_id', '=', workspaceId)
    .where('environment_id', '=', environmentId)
    .where('name', '=', name)
    .executeTakeFirst()
}

async function countLiving(db: Db, groupId: string): Promise<number> {
  const rows = await db
    .selectFrom('sessions')
    .select('id')
    .where('group_id', '=', groupId)
    .where('status', '!=', 'terminated')
    .execute()
  return rows.length
}

async function insertGroup(
  db: Db,
  { workspaceId, environmentId, environment }: EnterGroupArgs,
  group: Pick<Database['session_groups'], 'id' | 'name' | 'next_uid'>,
): Promise<void> {
  await db
    .insertInto('session_groups')
    .values({
      ...group,
      workspace_id: workspaceId,
      environment_id: environmentId,
      sandbox: JSON.stringify(sandboxConfig.parse(environment.berth)),
      lease_holder: null,
      lease_until: null,
      epoch: 0,
    })
    .execute()
}
