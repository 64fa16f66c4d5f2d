/** Which sessions live in which sandbox, and what is still unacknowledged on the links between them. */
import { command, type Command } from '@berth/protocol'
import { assertEpoch } from './assert-epoch.ts'
import { findNewestCheckpoint } from './checkpoints.ts'
import { noteSandboxTime } from './sandbox-time.ts'
import type { SandboxState } from './schema.ts'
import type { SessionRow } from './session-log.ts'
import type { Db } from './store.ts'
import { listTranscriptSizes, restore } from './transcripts.ts'

export interface AssignSandboxArgs {
  readonly sessionId: string
  readonly epoch: number
  readonly sandboxId: string
  readonly driver: string
  readonly nonce: string
  readonly now: string
}

/**
 * Gives the session the sandbox in which others of its group live, or else the named one, which is about to be made. Answers which. Its link starts
 * at nought.
 */
export async function assignSandbox(db: Db, args: AssignSandboxArgs): Promise<string> {
  const session = await db
    .selectFrom('sessions')
    .select(['id', 'group_id', 'workspace_id'])
    .where('id', '=', args.sessionId)
    .executeTakeFirstOrThrow()
  await assertEpoch(db, session, args.epoch)
  const present = await findGroupSandbox(db, session.group_id)
  const sandboxId = present ?? args.sandboxId
  if (present === undefined) await insertSandbox(db, session.workspace_id, args)
  // Up to now it was the others' alone.
  else await noteSandboxTime(db, { sandboxId: present, now: args.now })
  await startLink(db, args.sessionId)
  const hasTranscript = Object.keys(await listTranscriptSizes(db, args)).length > 0
  const hasFiles = (await findNewestCheckpoint(db, args)) !== undefined
  await db
    .updateTable('sessions')
    .set({
      sandbox_id: sandboxId,
      needs_restore: hasTranscript ? restore.newSandbox : restore.nothing,
      files_in: hasFiles ? null : sandboxId,
    })
    .where('id', '=', args.sessionId)
    .execute()
  return sandboxId
}

/** Of those of the group that live. */
async function findGroupSandbox(db: Db, groupId: string): Promise<string | undefined> {
  const session = await db
    .selectFrom('sessions')
    .select('sandbox_id')
    .where('group_id', '=', groupId)
    .where('sandbox_id', 'is not', null)
    .where('status', '!=', 'terminated')
    .executeTakeFirst()
  return session?.sandbox_id ?? undefined
}

async function insertSandbox(db: Db, workspaceId: string, args: AssignSandboxArgs): Promise<void> {
  await db
    .insertInto('sandboxes')
    .values({
      id: args.sandboxId,
      workspace_id: workspaceId,
      driver: args.driver,
      nonce: args.nonce,
      state: 'starting',
      created_at: args.now,
      warm_for: null,
      counted_to: args.now,
    })
    .execute()
}

export interface RestartSandboxArgs {
  readonly epoch: number
  readonly sandboxId: string
  readonly nonce: string
  readonly now: string
}

/** The sandbox, which is lost, is about to be started again on its own disk; the links of its sessions start at nought. */
export async function restartSandbox(db: Db, args: RestartSandboxArgs): Promise<void> {
  const { sandboxId, nonce } = args
  const sessions = await listSandboxSessions(db, args)
  for (const session of sessions) await assertEpoch(db, session, args.epoch)
  const start = { nonce, state: 'starting' as const, counted_to: args.now }
  await db.updateTable('sandboxes').set(start).where('id', '=', sandboxId).execute()
  for (const session of sessions) await restartSession(db, session)
}

async function restartSession(db: Db, session: SessionRow): Promise<void> {
  const needs_restore =
    session.has_transcript === 0 ? restore.nothing : await restoreAfterRestart(db, session.id, session.needs_restore)
  await startLink(db, session.id)
  await db.updateTable('sessions').set({ needs_restore }).where('id', '=', session.id).execute()
}

async function restoreAfterRestart(db: Db, sessionId: string, present: number): Promise<number> {
  if (present !== restore.nothing) return present
  const rows = await db.selectFrom('outbox').select('body').where('session_id', '=', sessionId).execute()
  const pending = rows.map((row) => command.parse(JSON.parse(row.body))).filter((body) => body.type === 'restore')
  // Perhaps it was not carried out.
  return pending.some((part) => part.unless_bytes === undefined) ? restore.cutBack : restore.ifShorter
}

async function startLink(db: Db, sessionId: string): Promise<void> {
  await takeBack(db, sessionId)
  await db.deleteFrom('outbox').where('session_id', '=', sessionId).execute()
  await db
    .updateTable('sessions')
    .set({ opened: null, link_received: 0, link_sent: 0 })
    .where('id', '=', sessionId)
    .execute()
}

/** Where nothing was ever heard from the sandbox, what was handed to it has not run, and waits again. */
export async function takeBackInputs(db: Db, args: { sandboxId: string; epoch: number }): Promise<void> {
  for (const session of await listSandboxSessions(db, args)) {
    await assertEpoch(db, session, args.epoch)
    await takeBack(db, session.id)
  }
}

async function takeBack(db: Db, sessionId: string): Promise<void> {
  const session = await db.selectFrom('sessions').select('link_received').where('id', '=', sessionId).executeTakeFirst()
  if (session?.link_received !== 0) return
  await db
    .updateTable('inputs')
    .set({ state: 'queued' })
    .where('session_id', '=', sessionId)
    .where('state', '=', 'delivered')
    .execute()
}

/** Forgets a sandbox that is gone for good. One in which somebody lives is forgotten under that group's epoch only. */
export async function removeSandbox(db: Db, args: { sandboxId: string; epoch: number | undefined }): Promise<void> {
  for (const session of await listSandboxSessions(db, args)) {
    await assertEpoch(db, session, args.epoch)
    await takeBack(db, session.id)
  }
  await db
    .updateTable('sessions')
    .set({ sandbox_id: null, opened: null })
    .where('sandbox_id', '=', args.sandboxId)
    .execute()
  await db.deleteFrom('departures').where('sandbox_id', '=', args.sandboxId).execute()
  await db.deleteFrom('sandboxes').where('id', '=', args.sandboxId).execute()
}

/** The sessions that live in the sandbox. */
export async function listSandboxSessions(db: Db, args: { sandboxId: string }): Promise<SessionRow[]> {
  return db
    .selectFrom('sessions')
    .selectAll()
    .where('sandbox_id', '=', args.sandboxId)
    .where('status', '!=', 'terminated')
    .orderBy('ord')
    .execute()
}

export interface KnownSandbox {
  readonly id: string
  readonly nonce: string
  readonly state: SandboxState
  /** Of those who live there; null: it is nobody's. */
  readonly groupId: string | null
}

export interface ListedSandbox extends KnownSandbox {
  /** The environment for whose next session it is kept, see `warm-sandboxes.ts`; null: it is not. */
  readonly warmFor: string | null
}

export async function listSandboxes(db: Db, _args: object): Promise<ListedSandbox[]> {
  return db
    .selectFrom('sandboxes')
    .leftJoin('sessions', (join) =>
      join.onRef('sessions.sandbox_id', '=', 'sandboxes.id').on('sessions.status', '!=', 'terminated'),
    )
    .select(['sandboxes.id as id', 'sandboxes.nonce as nonce', 'sandboxes.state as state', 'group_id as groupId'])
    .select('sandboxes.warm_for as warmFor')
    .distinct()
    .execute()
}

export async function findSandbox(
  db: Db,
  args: { sandboxId: string },
): Promise<Omit<KnownSandbox, 'groupId'> | undefined> {
  return db.selectFrom('sandboxes').select(['id', 'nonce', 'state']).where('id', '=', args.sandboxId).executeTakeFirst()
}

export interface LinkProgress {
  readonly sessionId: string
  readonly received: number
  readonly commands: { seq: number; body: Command }[]
}

/** What a reconnecting runner must be told: how far its frames are committed, and the commands it has not acknowledged. */
export async function findLinkProgress(db: Db, args: { sandboxId: string }): Promise<LinkProgress[]> {
  const sessions = await db
    .selectFrom('sessions')
    .select(['id', 'link_received'])
    .where('sandbox_id', '=', args.sandboxId)
    .execute()
  const progress: LinkProgress[] = []
  for (const session of sessions) {
    const rows = await db.selectFrom('outbox').selectAll().where('session_id', '=', session.id).orderBy('seq').execute()
    const commands = rows.map((row) => ({ seq: row.seq, body: command.parse(JSON.parse(row.body)) }))
    progress.push({ sessionId: session.id, received: session.link_received, commands })
  }
  return progress
}
