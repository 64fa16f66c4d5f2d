/** The open calls of a session's turn in its shipped transcript: found there, and ended there by lines that the server writes. */
import {
  type CallsInTranscript,
  readCalls,
  type Result,
  toDeferredLine,
  toResultLine,
  type Use,
} from '../domain/turn/transcript-lines.ts'
import { pendingToolUseIds } from '../domain/turn/turn-state.ts'
import type { SessionLog } from './session-log.ts'
import type { Db } from './store.ts'
import { appendTranscript, listTranscriptSizes } from './transcripts.ts'

export class TranscriptCalls {
  readonly #db: Db
  readonly #log: SessionLog
  readonly #path: string
  readonly #found: CallsInTranscript
  #lines = ''

  private constructor(db: Db, log: SessionLog, path: string, found: CallsInTranscript) {
    this.#db = db
    this.#log = log
    this.#path = path
    this.#found = found
  }

  /** undefined: not every open call of the turn is there. */
  static async read(db: Db, log: SessionLog): Promise<TranscriptCalls | undefined> {
    const rows = await db
      .selectFrom('transcripts')
      .select(['path', 'text'])
      .where('session_id', '=', log.row.id)
      .where('path', 'like', `%${log.row.sdk_session_id}.jsonl`)
      .orderBy('start')
      .execute()
    const path = rows[0]?.path
    if (path === undefined) return undefined
    const ids = Object.keys(log.turn.calls)
    const found = readCalls(rows.map(({ text }) => text).join(''), ids)
    return ids.every((id) => found.uses.has(id)) ? new TranscriptCalls(db, log, path, found) : undefined
  }

  /** The result that the CLI itself has written; undefined when it has not come to it. */
  resultOf(toolUseId: string): Result | undefined {
    return this.#found.results.get(toolUseId)
  }

  /** Ends the call: in the transcript, for clients, and in the turn. */
  end(toolUseId: string, result: Result, text: string | null): void {
    const call = this.#log.turn.calls[toolUseId]
    const use = this.#found.uses.get(toolUseId)
    if (call === undefined || use === undefined) return
    delete this.#log.turn.calls[toolUseId]
    this.write(toolUseId, result)
    // The client's own event is the record of a custom call's result.
    if (text === null) return
    this.#log.addResult(call, text, result.isError)
  }

  /** Writes the call's result; nothing where the CLI has. */
  write(toolUseId: string, result: Result): void {
    const use = this.#found.uses.get(toolUseId)
    if (use === undefined || this.#found.results.has(toolUseId)) return
    this.#lines += toResultLine(use, toolUseId, result, this.#stamp())
  }

  /** As the CLI calls its tool. */
  toolOf(toolUseId: string): string {
    return this.#use(toolUseId).name
  }

  /** What makes a CLI take up the call. */
  deferredLine(toolUseId: string): string {
    const use = this.#use(toolUseId)
    return toDeferredLine(use, toolUseId, this.#found.last, this.#stamp())
  }

  /** Adds what was written to the transcript. */
  async save(): Promise<void> {
    if (this.#lines === '') return
    const sessionId = this.#log.row.id
    const start = (await listTranscriptSizes(this.#db, { sessionId }))[this.#path] ?? 0
    const part = { sessionId, path: this.#path, start, length: Buffer.byteLength(this.#lines), text: this.#lines }
    await appendTranscript(this.#db, part)
    this.#lines = ''
  }

  #use(toolUseId: string): Use {
    const use = this.#found.uses.get(toolUseId)
    if (use === undefined) throw new TypeError(`${toolUseId} is not in the transcript`)
    return use
  }

  #stamp(): { uuid: string; now: string } {
    return { uuid: crypto.randomUUID(), now: this.#log.now }
  }
}

/** Does the shipped transcript show all calls that wait? A session of which nothing was ever shipped is not waited for. */
export async function areShipped(db: Db, log: SessionLog): Promise<boolean> {
  if (log.row.has_transcript === 0) return true
  for (const id of pendingToolUseIds(log.turn)) {
    const part = await db
      .selectFrom('transcripts')
      .select('start')
      .where('session_id', '=', log.row.id)
      .where('text', 'like', `%${id}%`)
      .limit(1)
      .executeTakeFirst()
    if (part === undefined) return false
  }
  return true
}
