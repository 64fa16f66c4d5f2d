/** Brings the calls of a parked turn to their results: those that need no CLI at once, the others by the runner. */
import type { Command, SessionConfig } from '@berth/protocol'
import type { SeenTools } from '@berth/protocol/seen-tools'
import { sessionEvent } from '@berth/protocol/api/event'
import { fateOf, outcome } from '../domain/turn/held-calls.ts'
import { continuationText } from '../domain/turn/recovery.ts'
import { toContentForModel } from '../domain/turn/tool-result.ts'
import { type Result, resultLine } from '../domain/turn/transcript-lines.ts'
import type { Call } from '../domain/turn/turn-state.ts'
import { filesAsOf } from './files-state.ts'
import { failed, wakeTurn } from './park-turn.ts'
import { listSeenTools } from './seen-tools.ts'
import type { SessionLog } from './session-log.ts'
import type { Db } from './store.ts'
import { TranscriptCalls } from './transcript-calls.ts'
import { restore, restoreCommands } from './transcripts.ts'

type Config = Omit<SessionConfig, 'sdk_session_id' | 'resume'>

/** Answers what the agent is to be told when all calls have their results; undefined: the runner was given those to carry out. */
export async function settleCalls(db: Db, log: SessionLog, config: Config): Promise<string | undefined> {
  const calls = await TranscriptCalls.read(db, log)
  const seen_tools = await listSeenTools(db, { sessionId: log.row.id, servers: config.mcp_servers })
  const toRun: Extract<Command, { type: 'run_calls' }>['calls'] = []
  for (const [id, call] of Object.entries(log.turn.calls)) {
    if (fateOf(call) === 'runs' && calls !== undefined) {
      const digest = digestOf(call, calls.toolOf(id), { servers: config.mcp_servers, seen: seen_tools })
      if (digest === undefined) calls.end(id, failed(outcome.changed), outcome.changed)
      else toRun.push({ tool_use_id: id, line: calls.deferredLine(id), digest })
    } else if (fateOf(call) === 'told') {
      const { result, text } = await answerOf(db, call)
      calls?.end(id, result, text)
    }
  }
  await calls?.save()
  log.row.needs_restore = restore.cutBack
  log.row.opened = null
  if (toRun.length === 0) {
    const lost = log.turn.parked?.lost ?? 'process'
    log.turn = { ...log.turn, calls: {}, parked: null }
    return continuationText([], { lost, filesAsOf: await filesAsOf(db, log.row) })
  }
  for (const part of await restoreCommands(db, log.row.id, { ...config, isOnlyIfShorter: false })) log.command(part)
  const { sdk_session_id } = log.row
  const whole = { ...config, sdk_session_id, resume: true }
  log.command({ type: 'run_calls', config: whole, seen_tools, calls: toRun })
  return undefined
}

/**
 * The digest that the tool of a call must still have; null: it need not have one. undefined: the session has not seen it, where its server is now,
 * or it has changed since.
 */
function digestOf(
  { kind }: Call,
  cliName: string,
  { servers, seen }: { servers: Config['mcp_servers']; seen: readonly SeenTools[] },
): string | null | undefined {
  if (kind !== 'mcp') return null
  const server = servers.find(({ name }) => cliName.startsWith(`mcp__${name}__`))
  if (server?.type === 'stdio') return null
  const tools = seen.find((one) => one.server === server?.name)?.tools
  const tool = tools?.find(({ name }) => cliName === `mcp__${server?.name}__${name}`)
  return tool?.is_withheld === false ? tool.digest : undefined
}

/** Writes the results that a runner's message brings into the transcript, before the message ends their calls. */
export async function keepResults(db: Db, log: SessionLog, said: Readonly<Record<string, unknown>>): Promise<void> {
  const parsed = resultLine.safeParse(said)
  if (!parsed.success) return
  const calls = await TranscriptCalls.read(db, log)
  for (const block of parsed.data.message.content) {
    if (block === null || log.turn.calls[block.tool_use_id] === undefined) continue
    const { tool_use_id, content, is_error } = block
    calls?.write(tool_use_id, { content, isError: is_error ?? false, raw: parsed.data['tool_use_result'] })
  }
  await calls?.save()
}

/** After a step of a parked turn: when its last call has a result, the agent goes on. */
export async function goOnWhenSettled(db: Db, log: SessionLog): Promise<void> {
  if (log.turn.parked !== null && Object.keys(log.turn.calls).length === 0) await wakeTurn(db, log)
}

/** `text`: what clients see as the result; null where they have given it themselves. */
async function answerOf(db: Db, call: Call): Promise<{ result: Result; text: string | null }> {
  const event = call.answerEventId === null ? undefined : await readEvent(db, call.answerEventId)
  if (event?.type === 'user.custom_tool_result') {
    const content = toContentForModel((event.content ?? []).map((block) => ({ ...block })))
    return { result: { content, isError: event.is_error ?? false }, text: null }
  }
  if (event?.type === 'user.tool_confirmation') {
    const text = event.deny_message ?? outcome.denied
    return { result: failed(text), text }
  }
  return { result: failed(outcome.notAllowed), text: outcome.notAllowed }
}

async function readEvent(db: Db, id: string): Promise<ReturnType<typeof sessionEvent.parse>> {
  const stored = await db.selectFrom('events').select('body').where('id', '=', id).executeTakeFirstOrThrow()
  return sessionEvent.parse(JSON.parse(stored.body))
}
