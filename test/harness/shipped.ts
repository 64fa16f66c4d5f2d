/** What of a conversation the server has, which no client can see: read from its database. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { waitUntil } from './wait-until.ts'

/**
 * Waits until the shipped transcript has the call in whose input these words stand: whatever is killed from then on, the agent remembers
 * that it has made it. A tool may start before that; a scripted model then makes its call again.
 */
export async function untilCallShipped(dataDir: string, sessionId: string, words: string): Promise<void> {
  const query = `SELECT count(*) AS parts FROM transcripts
    WHERE session_id = ? AND instr(text, '"type":"tool_use"') > 0 AND instr(text, ?) > 0`
  await waitUntil(`the transcript has the call of "${words}"`, () => {
    using database = new DatabaseSync(join(dataDir, 'berth.db'), { readOnly: true })
    return Number(database.prepare(query).get(sessionId, words)?.['parts']) > 0
  })
}
