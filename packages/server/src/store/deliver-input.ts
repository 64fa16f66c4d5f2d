/** Hands the next input to the sandbox's runner, together with whatever the runner must know first. */
import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { SessionConfig } from '@berth/protocol'
import { type SessionError, sessionEvent } from '@berth/protocol/api/event'
import { z } from 'zod'
import { newId } from '../domain/ids.ts'
import { dirsOf } from '../domain/session-dirs.ts'
import { toModelContent } from '../domain/model-content.ts'
import { type FilesState, findFilesState } from './files-state.ts'
import { pendingEventIds } from '../domain/turn/turn-state.ts'
import { isPaused } from '../domain/session.ts'
import { resumption } from './pause-turn.ts'
import { isPresentLaunch } from './present-launch.ts'
import { keepSeenTools } from './seen-tools.ts'
import { type Committed, SessionLog, type SessionRow } from './session-log.ts'
import { settleCalls } from './settle-calls.ts'
import type { Db } from './store.ts'
import { forgetTranscript, listTranscriptSizes, restore, restoreCommands } from './transcripts.ts'

const blocks = z.array(z.record(z.string(), z.unknown()))

export interface DeliverInputArgs {
  readonly sessionId: string
  readonly epoch: number
  readonly sandboxId: string
  /** Of the sandbox's launch that this is about. */
  readonly nonce: string
  readonly config: Omit<SessionConfig, 'sdk_session_id' | 'resume'>
  /** What the session lacks, without being kept from work by it: told once. */
  readonly lacks: readonly SessionError[]
  readonly now: string
}

/** undefined: there is nothing to hand over now (an input is inside, none waits, or the sandbox is another). */
export async function deliverInput(db: Db, args: DeliverInputArgs): Promise<Committed | undefined> {
  const log = await SessionLog.load(db, args)
  if (log.row.status === 'terminated' || !(await isPresentLaunch(db, log.row, args))) return undefined
  const [head] = await db
    .selectFrom('inputs')
    .selectAll()
    .where('session_id', '=', args.sessionId)
    .where('state', '!=', 'done')
    .orderBy('seq')
    .limit(1)
    .execute()
  if (head === undefined || head.state !== 'queued' || isPaused(log.row)) return undefined
  if (log.turn.parked !== null) {
    if (pendingEventIds(log.turn).length > 0) return undefined
    const told = await settleCalls(db, log, args.config)
    if (told === undefined) return handOver(db, log, head.event_id, args)
    head.uuid = randomUUID()
    head.continuation = JSON.stringify([{ type: 'text', text: told }])
    const { uuid, continuation } = head
    await db
      .updateTable('inputs')
      .set({ uuid, continuation, is_taken: 0 })
      .where('event_id', '=', head.event_id)
      .execute()
  }
  const note = await noteOf(db, log)
  await open(db, log, args.config)
  const stored = await db.selectFrom('events').select('body').where('id', '=', head.event_id).executeTakeFirstOrThrow()
  const event = sessionEvent.parse(JSON.parse(stored.body))
  if (event.type !== 'user.message') throw new TypeError(`input ${head.event_id} is a ${event.type}`)
  const content =
    head.continuation === null
      ? [...note, ...toModelContent(event.content)]
      : [...(head.continuation === resumption ? note : []), ...blocks.parse(JSON.parse(head.continuation))]
  log.command({ type: 'input', uuid: head.uuid, content })
  return handOver(db, log, head.event_id, args)
}

/** What was put into the outbox makes the input be inside. */
async function handOver(
  db: Db,
  log: SessionLog,
  eventId: string,
  { lacks }: Pick<DeliverInputArgs, 'lacks'>,
): Promise<Committed> {
  log.row.is_changed = 1
  // What is missing is told anew.
  log.turn = { ...log.turn, mcpFailures: [] }
  if (log.row.status === 'idle') log.toRunning()
  await log.process(eventId)
  await tellLacks(db, log, lacks)
  await db.updateTable('inputs').set({ state: 'delivered' }).where('event_id', '=', eventId).execute()
  return log.save()
}

async function tellLacks(db: Db, log: SessionLog, lacks: readonly SessionError[]): Promise<void> {
  if (lacks.length === 0) return
  const errors = db.selectFrom('events').select('body').where('session_id', '=', log.row.id)
  const rows = await errors.where('type', '=', 'session.error').execute()
  const told = rows.map(({ body }) => sessionEvent.parse(JSON.parse(body)))
  for (const error of lacks) {
    if (told.some((event) => event.type === 'session.error' && isDeepStrictEqual(event.error, error))) continue
    log.add({ id: newId('sevt'), type: 'session.error', error })
  }
}

/** Told to the agent with the first input in a sandbox that is not, or not quite, the one it remembers. */
async function noteOf(db: Db, { row }: SessionLog): Promise<{ type: 'text'; text: string }[]> {
  const isNew = row.needs_restore === restore.newSandbox || (row.has_transcript === 0 && row.opened === null)
  const others = row.sandbox_name !== null && isNew ? [reminder(othersText(row))] : []
  switch (row.needs_restore) {
    case restore.newSandbox:
      return [reminder(newSandboxText(await findFilesState(db, row))), ...others]
    case restore.ifShorter:
      return [
        reminder(
          'The sandbox ended and was started again. Files are as they were, but for those in /tmp, which are gone; no process of before runs any more.',
        ),
      ]
    default:
      return others
  }
}

function othersText(row: SessionRow): string {
  const { cwd, outputs } = dirsOf(row)
  return `Others work in this sandbox, too. Your working directory, ${cwd}, and your home are closed to them. What you put into ${outputs} they can read; what they hand over is in the directories beside it. Ports are common to all.`
}

function newSandboxText(files: FilesState): string {
  switch (files.type) {
    case 'kept':
      return 'The sandbox was put away while nothing happened, and this is a new one. Files are as they were, but for those in /tmp, which are gone; no process of before runs any more.'
    case 'outputs':
      return 'The sandbox was put away when the turn was over, and this is a new one: of the files only those in /mnt/session/outputs are there.'
    case 'older':
      return `The sandbox of the conversation so far was lost. This is a new one: files are as they were at ${files.asOf}, what was written later is gone, and no process of before runs any more.`
    case 'gone':
      return 'The sandbox of the conversation so far was lost. This is a new one: files that were written in the old one are gone.'
    default:
      return files satisfies never
  }
}

function reminder(text: string): { type: 'text'; text: string } {
  return { type: 'text', text: `<system-reminder>${text}</system-reminder>` }
}

/** The configuration goes to the runner once, and again when it has changed; before it, where the sandbox needs it, the transcript. */
async function open(db: Db, log: SessionLog, config: DeliverInputArgs['config']): Promise<void> {
  const opened = JSON.stringify(config)
  if (log.row.opened === opened) return
  log.row.opened = opened
  const sessionId = log.row.id
  if (log.row.has_transcript === 0) await beginConversation(db, log)
  const isOnlyIfShorter = log.row.needs_restore === restore.ifShorter
  if (log.row.needs_restore !== restore.nothing) {
    log.row.needs_restore = restore.nothing
    for (const part of await restoreCommands(db, sessionId, { ...config, isOnlyIfShorter })) log.command(part)
  }
  const { sdk_session_id, has_transcript } = log.row
  const transcripts = await listTranscriptSizes(db, { sessionId })
  const seen_tools = await keepSeenTools(db, { sessionId, servers: config.mcp_servers })
  const whole = { ...config, sdk_session_id, resume: has_transcript === 1 }
  log.command({ type: 'open', config: whole, transcripts, seen_tools })
}

/**
 * A CLI neither resumes a transcript without a line of user or agent nor begins one by a name that it had: what an earlier CLI left before it
 * came to the first line is of no use.
 */
async function beginConversation(db: Db, log: SessionLog): Promise<void> {
  await forgetTranscript(db, { sessionId: log.row.id })
  log.row.needs_restore = restore.nothing
  log.row.sdk_session_id = crypto.randomUUID()
}
