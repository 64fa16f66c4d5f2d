/** Which sandbox belongs to which session, and what is still unacknowledged on the link between them. */
import { command, type Command } from '@berth/protocol'
import { assertEpoch } from './assert-epoch.ts'
import { findNewestCheckpoint } from './checkpoints.ts'
import type { SandboxState } from './schema.ts'
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

/** Gives the session a sandbox that is about to be made; its link starts at nought. */
export async function assignSandbox(db: Db, args: AssignSandboxArgs): Promise<void> {
  const session = await db
    .selectFrom('sessions')
    .select(['id', 'epoch', 'workspace_id'])
    .where('id', '=', args.sessionId)
    .executeTakeFirstOrThrow()
  assertEpoch(session, args.epoch)
  await db
    .insertInto('sandboxes')
    .values({
      id: args.sandboxId,
      workspace_id: session.workspace_id,
      driver: args.driver,
      nonce: args.nonce,
      state: 'starting',
      created_at: args.now,
      warm_for: null,
    })
    .execute()
  await startLink(db, args.sessionId)
  const hasTranscript = Object.keys(await listTranscriptSizes(db, args)).length > 0
  const hasFiles = (await findNewestCheckpoint(db, args)) !== undefined
  await db
    .updateTable('sessions')
    .set({
      sandbox_id: args.sandboxId,
      needs_restore: hasTranscript ? restore.newSandbox : restore.nothing,
      files_in: hasFiles ? null : args.sandboxId,
    })
    .where('id', '=', args.sessionId)
    .execute()
}

export interface RestartSandboxArgs {
  readonly sessionId: string
  readonly epoch: number
  readonly sandboxId: string
  readonly nonce: string
}

/** The session's sandbox, which is lost, is about to be started again on its own disk; its link starts at nought. */
export async function restartSandbox(db: Db, args: RestartSandboxArgs): Promise<void> {
  const session = await db
    .selectFrom('sessions')
    .select(['id', 'epoch', 'has_transcript', 'needs_restore'])
    .where('id', '=', args.sessionId)
    .where('sandbox_id', '=', args.sandboxId)
    .executeTakeFirstOrThrow()
  assertEpoch(session, args.epoch)
  const { sandboxId, nonce } = args
  await db.updateTable('sandboxes').set({ nonce, state: 'starting' }).where('id', '=', sandboxId).execute()
  const needs_restore =
    session.has_transcript === 0
      ? restore.nothing
      : await restoreAfterRestart(db, args.sessionId, session.needs_restore)
  await startLink(db, args.sessionId)
  await db.updateTable('sessions').set({ needs_restore }).where('id', '=', args.sessionId).execute()
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
export async function takeBackInputs(db: Db, args: { sessionId: string; epoch: number }): Promise<void> {
  const { sessionId } = args
  const session = await db.selectFrom('sessions').select(['id', 'epoch']).where('id', '=', sessionId).executeTakeFirst()
  if (session === undefined) return
  assertEpoch(session, args.epoch)
  await takeBack(db, sessionId)
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

/** Forgets a sandbox that is gone for good. One that belongs to a living session is forgotten under that session's epoch only. */
export async function removeSandbox(db: Db, args: { sandboxId: string; epoch: number | undefined }): Promise<void> {
  const owner = await db
    .selectFrom('sessions')
    .select(['id', 'epoch', 'status'])
    .where('sandbox_id', '=', args.sandboxId)
    .executeTakeFirst()
  if (owner !== undefined && owner.status !== 'terminated') assertEpoch(owner, args.epoch)
  if (owner !== undefined) await takeBack(db, owner.id)
  await db
    .updateTable('sessions')
    .set({ sandbox_id: null, opened: null })
    .where('sandbox_id', '=', args.sandboxId)
    .execute()
  await db.deleteFrom('sandboxes').where('id', '=', args.sandboxId).execute()
}

export interface KnownSandbox {
  readonly id: string
  readonly nonce: string
  readonly state: SandboxState
  readonly sessionId: string | null
}

export interface ListedSandbox extends KnownSandbox {
  /** The environment for whose next session it is kept, see `warm-sandboxes.ts`; null: it is not. */
  readonly warmFor: string | null
}

export async function listSandboxes(db: Db, _args: object): Promise<ListedSandbox[]> {
  return db
    .selectFrom('sandboxes')
    .leftJoin('sessions', 'sessions.sandbox_id', 'sandboxes.id')
    .select(['sandboxes.id as id', 'sandboxes.nonce as nonce', 'sandboxes.state as state', 'sessions.id as sessionId'])
    .select('sandboxes.warm_for as warmFor')
    .execute()
}

export async function findSandbox(
  db: Db,
  args: { sandboxId: string },
): Promise<Omit<KnownSandbox, 'sessionId'> | undefined> {
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
