/** What a runner reported becomes durable: translated, appended, its progress noted, all in one transaction. */
import { BerthError, type Report, type SessionUsage } from '@berth/protocol'
import { toLinkServer } from '../domain/mcp-servers.ts'
import { parseSessionAgent } from '../domain/session.ts'
import { sessionTools } from '../domain/session-tools.ts'
import type { StopReason } from '@berth/protocol/api/event'
import { translate } from '../domain/turn/translate.ts'
import type { TurnContext } from '../domain/turn/turn-log.ts'
import { freshTurn, isBlocked, pendingEventIds, type TurnState } from '../domain/turn/turn-state.ts'
import { newId } from '../domain/ids.ts'
import { parkTurn, refuseCalls } from './park-turn.ts'
import { pauseTurn } from './pause-turn.ts'
import { recoverTurn } from './recover-turn.ts'
import { noteSeenTools } from './seen-tools.ts'
import { isPresentLaunch } from './present-launch.ts'
import { type Committed, SessionLog } from './session-log.ts'
import { goOnWhenSettled, keepResults } from './settle-calls.ts'
import type { Db } from './store.ts'
import { areShipped } from './transcript-calls.ts'
import { appendTranscript, hasUserLine } from './transcripts.ts'

export interface CommitReportsArgs {
  readonly sessionId: string
  readonly epoch: number
  readonly sandboxId: string
  /** Of the sandbox's launch that this is about. */
  readonly nonce: string
  /** In the order of their numbers; those that were committed before are passed over. */
  readonly frames: readonly { readonly seq: number; readonly report: Report }[]
  /** Last command that the runner has handled. */
  readonly acked: number
  readonly previews: Readonly<Record<string, string>>
  /** The session's usage as of now; null: unknown, keep what is stored. */
  readonly usage: Pick<SessionUsage, 'models' | 'stopped'> | null
  readonly now: string
}

export interface CommittedReports extends Committed {
  /** Raw SDK messages with their numbers. */
  readonly sdkMessages: readonly { readonly seq: number; readonly message: Readonly<Record<string, unknown>> }[]
}

/**
 * `not_found` when the session is gone; nothing when it lives in another sandbox, or another launch of it, by now: the frames are nobody's.
 * `conflict` when a frame is missing: taking those behind it would let the runner forget the one that is not there.
 */
export async function commitReports(db: Db, args: CommitReportsArgs): Promise<CommittedReports> {
  const log = await SessionLog.load(db, args)
  const sdkMessages: { seq: number; message: Readonly<Record<string, unknown>> }[] = []
  if (!(await isPresentLaunch(db, log.row, args))) return { row: log.row, events: [], commands: [], sdkMessages }
  if (args.usage !== null) log.row.usage = JSON.stringify(args.usage.models)
  await noteRunner(db, log, args)
  const context = contextOf(log, args)
  for (const { seq, report } of args.frames) {
    if (seq <= log.row.link_received) continue
    if (seq > log.row.link_received + 1) throw gap(args.sessionId, seq, log.row.link_received)
    log.row.link_received = seq
    if (report.type === 'message') {
      log.row.last_sdk_seq += 1
      sdkMessages.push({ seq: log.row.last_sdk_seq, message: report.message })
    }
    if (report.type === 'transcript') await takeTranscript(db, log, report)
    else if (report.type === 'seen_tools') await noteSeenTools(db, toSeenOf(log, context), report)
    else await take(db, log, report, context)
  }
  await saveSdkMessages(db, log.row.id, sdkMessages)
  return { ...(await log.save()), sdkMessages }
}

function gap(sessionId: string, seq: number, received: number): BerthError {
  return new BerthError('conflict', `frame ${seq} of session ${sessionId} came after ${received}`)
}

/** What the connection has shown besides its frames: that the runner lives, and which commands it needs no more. */
async function noteRunner(db: Db, log: SessionLog, args: CommitReportsArgs): Promise<void> {
  if (log.row.link_received === 0) {
    await db.updateTable('sandboxes').set({ state: 'ready' }).where('id', '=', args.sandboxId).execute()
  }
  await db.deleteFrom('outbox').where('session_id', '=', args.sessionId).where('seq', '<=', args.acked).execute()
}

function contextOf(log: SessionLog, { previews, usage }: CommitReportsArgs): TurnContext {
  const agent = parseSessionAgent(log.row.agent)
  return {
    threadId: log.row.thread_id,
    agentName: agent.name,
    tools: sessionTools(agent, log.row),
    newEventId: () => newId('sevt'),
    previews,
    stopped: usage?.stopped ?? null,
  }
}

function toSeenOf(log: SessionLog, { tools }: TurnContext): Parameters<typeof noteSeenTools>[1] {
  return { sessionId: log.row.id, servers: tools.mcpServers.map(toLinkServer) }
}

async function take(db: Db, log: SessionLog, report: Report, context: TurnContext): Promise<void> {
  if (await takeHeld(db, log, report)) return
  const { turn, events, isActive, isOver, cut } = translate(log.turn, report, context)
  log.turn = turn
  if (log.row.status === 'terminated') return
  // The agent works by itself when a background task has ended.
  if (isActive && log.row.status === 'idle' && log.situation.stopReason?.type !== 'requires_action') {
    log.toRunning()
    log.row.is_changed = 1
  }
  for (const event of events) log.add(event)
  log.row.status = statusAfter(log)
  if (cut !== undefined) await recoverTurn(db, log, { lost: 'process', ...cut })
  else if (isOver) await endTurn(db, log)
  else if (log.turn.parked !== null) await goOnWhenSettled(db, log)
  else if (log.row.status === 'running' && isBlocked(log.turn)) await ask(db, log)
  else askAnew(log)
}

/** What concerns calls that outlive their CLI. Answers true when that was all of it. */
async function takeHeld(db: Db, log: SessionLog, report: Report): Promise<boolean> {
  if (log.row.status === 'terminated') return false
  if (report.type === 'exited') return report.reason !== 'closed' && (await parkTurn(db, log, { lost: 'process' }))
  if (log.turn.parked === null) return false
  if (report.type === 'message') await keepResults(db, log, report.message)
  if (report.type !== 'refused' || (report.command !== 'run_calls' && report.command !== 'restore')) return false
  await refuseCalls(db, log, report.detail)
  return true
}

/** Clients are asked once the transcript shows the calls: from then on nothing that is lost makes the question void. */
async function ask(db: Db, log: SessionLog): Promise<void> {
  if (await areShipped(db, log)) log.toIdle({ type: 'requires_action', event_ids: pendingEventIds(log.turn) })
}

/** Calls may come to those that wait, and some of them may end without an answer. */
function askAnew(log: SessionLog): void {
  const { status, stopReason, turn } = log.situation
  if (status !== 'idle' || stopReason?.type !== 'requires_action') return
  const waiting = pendingEventIds(turn)
  if (waiting.length === 0) log.toRunning()
  else if (waiting.join() !== stopReason.event_ids.join()) {
    log.toIdle({ type: 'requires_action', event_ids: waiting })
  }
}

/** The agent has taken an input when its line stands in the transcript. */
async function takeTranscript(db: Db, log: SessionLog, report: Extract<Report, { type: 'transcript' }>): Promise<void> {
  const sessionId = log.row.id
  const { type: _type, ...part } = report
  if (!(await appendTranscript(db, { sessionId, ...part }))) return
  if (log.row.status === 'running' && log.turn.parked === null && isBlocked(log.turn)) await ask(db, log)
  const inside = await db
    .selectFrom('inputs')
    .select(['uuid', 'event_id', 'is_taken'])
    .where('session_id', '=', sessionId)
    .where('state', '=', 'delivered')
    .executeTakeFirst()
  if (inside === undefined || inside.is_taken === 1 || !hasUserLine(report.text, inside.uuid)) return
  await db.updateTable('inputs').set({ is_taken: 1 }).where('event_id', '=', inside.event_id).execute()
  log.row.has_transcript = 1
}

function statusAfter(log: SessionLog): SessionLog['row']['status'] {
  if (log.turn.retrying) return 'rescheduling'
  return log.row.status === 'rescheduling' ? 'running' : log.row.status
}

/** The input that was inside is done; the next one goes on without an idle between them. */
async function endTurn(db: Db, log: SessionLog): Promise<void> {
  const { failure, refusal } = log.turn
  if (await pauseTurn(db, log)) return
  log.turn = freshTurn
  log.row.failures = 0
  await db
    .updateTable('inputs')
    .set({ state: 'done' })
    .where('session_id', '=', log.row.id)
    .where('state', '=', 'delivered')
    .execute()
  const waiting = await db
    .selectFrom('inputs')
    .select('seq')
    .where('session_id', '=', log.row.id)
    .where('state', '=', 'queued')
    .executeTakeFirst()
  if (waiting !== undefined) log.nextTurn()
  else if (log.row.status !== 'idle' || log.situation.stopReason?.type === 'requires_action') {
    log.toIdle(reasonOf(failure, refusal), refusal)
  }
}

function reasonOf(failure: TurnState['failure'], refusal: TurnState['refusal']): StopReason {
  if (refusal !== null) return { type: 'refusal' }
  return failure === null ? { type: 'end_turn' } : { type: 'retries_exhausted' }
}

async function saveSdkMessages(
  db: Db,
  sessionId: string,
  messages: readonly { seq: number; message: object }[],
): Promise<void> {
  if (messages.length === 0) return
  const rows = messages.map(({ seq, message }) => ({ session_id: sessionId, seq, body: JSON.stringify(message) }))
  await db.insertInto('sdk_messages').values(rows).execute()
}
