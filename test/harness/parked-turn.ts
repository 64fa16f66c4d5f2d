/** Whether a session's calls wait without a CLI, which no client can see: read from the server's database. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { waitUntil } from './wait-until.ts'

const turn = z.object({ parked: z.object({ lost: z.string() }).nullable() })

/** Waits until the server has seen that the CLI which held the session's calls is gone, or that more than the CLI is. */
export async function untilParked(dataDir: string, sessionId: string, lost: 'process' | 'sandbox'): Promise<void> {
  await waitUntil(`the turn is parked without its ${lost}`, () => {
    using database = new DatabaseSync(join(dataDir, 'berth.db'), { readOnly: true })
    const row = database.prepare('SELECT turn FROM sessions WHERE id = ?').get(sessionId)
    const { parked } = turn.parse(JSON.parse(String(row?.['turn'])))
    return parked !== null && (lost === 'process' || parked.lost !== 'process')
  })
}
