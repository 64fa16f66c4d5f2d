/** What of a session the server has, which no client can see: read from its database. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { waitUntil } from './wait-until.ts'

/**
 * Waits until the shipped transcript has the call in whose input these words stand: whatever is killed from then on, the agent remembers
 * that it has made it. A tool may start before that; a scripted model then makes its call again.
 */
export function untilCallShipped(dataDir: string, sessionId: string, words: string): Promise<void> {
  return untilShipped(dataDir, sessionId, '"type":"tool_use"', words)
}

/** Waits until the shipped transcript has the prompt with these words: before that a CLI that was killed is given it once more, in a conversation of its own. */
export function untilPromptShipped(dataDir: string, sessionId: string, words: string): Promise<void> {
  return untilShipped(dataDir, sessionId, '"type":"user"', words)
}

const turn = z.object({ calls: z.record(z.string(), z.unknown()) })

/**
 * Waits until the shipped transcript has every call that the session's turn has open. A client is asked a moment before; a CLI that is lost
 * within it leaves nothing that could wait on, and the agent asks anew.
 */
export async function untilCallsShipped(dataDir: string, sessionId: string): Promise<void> {
  const isThere = `SELECT count(*) AS parts FROM transcripts WHERE session_id = ? AND instr(text, ?) > 0`
  await waitUntil('the transcript has the open calls', () => {
    using database = new DatabaseSync(join(dataDir, 'berth.db'), { readOnly: true })
    const row = database.prepare('SELECT turn FROM sessions WHERE id = ?').get(sessionId)
    const calls = Object.keys(turn.parse(JSON.parse(String(row?.['turn']))).calls)
    const parts = database.prepare(isThere)
    return calls.length > 0 && calls.every((id) => Number(parts.get(sessionId, `"id":"${id}"`)?.['parts']) > 0)
  })
}

async function untilShipped(dataDir: string, sessionId: string, kind: string, words: string): Promise<void> {
  const query = `SELECT count(*) AS parts FROM transcripts
    WHERE session_id = ? AND instr(text, ?) > 0 AND instr(text, ?) > 0`
  await waitUntil(`the transcript has "${words}" as ${kind}`, () => {
    using database = new DatabaseSync(join(dataDir, 'berth.db'), { readOnly: true })
    return Number(database.prepare(query).get(sessionId, kind, words)?.['parts']) > 0
  })
}

/** Waits until the session's last turn has its checkpoint: one that was under way when the turn began is none of it. */
export async function untilTurnSaved(dataDir: string, sessionId: string): Promise<void> {
  const query = `SELECT max(seq) >= (SELECT max(seq) FROM events WHERE session_id = $id AND type = 'session.status_idle') AS saved
    FROM checkpoints WHERE session_id = $id`
  await waitUntil('the turn has its checkpoint', () => {
    using database = new DatabaseSync(join(dataDir, 'berth.db'), { readOnly: true })
    return database.prepare(query).get({ $id: sessionId })?.['saved'] === 1
  })
}
