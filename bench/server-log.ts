/** What a server wrote to its log, as far as a bench goes by it. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'

const line = z.object({
  time: z.number(),
  msg: z.string().optional(),
  sandbox_id: z.string().optional(),
  session_id: z.string().optional(),
})

/** When each sandbox's runner was first welcomed since then, by sandbox; in ms since 1970. The server has to log at `debug`. */
export async function runnersConnected(dataDir: string, since: number): Promise<Map<string, number>> {
  const connected = new Map<string, number>()
  for (const text of (await readFile(join(dataDir, 'berth.log'), 'utf8')).split('\n')) {
    // Others are not worth parsing, and the last may be only half written.
    if (!text.includes('"runner connected"') || !text.endsWith('}')) continue
    const { time, sandbox_id } = line.parse(JSON.parse(text))
    if (time >= since && sandbox_id !== undefined && !connected.has(sandbox_id)) connected.set(sandbox_id, time)
  }
  return connected
}

/** When the session was given its files since then, in ms since 1970; NaN if it was not. The server has to log at `debug`. */
export async function filesBroughtBackAt(dataDir: string, of: { sessionId: string; since: number }): Promise<number> {
  for (const text of (await readFile(join(dataDir, 'berth.log'), 'utf8')).split('\n')) {
    if (!text.includes('"files brought back"') || !text.endsWith('}')) continue
    const { time, session_id } = line.parse(JSON.parse(text))
    if (time >= of.since && session_id === of.sessionId) return time
  }
  return Number.NaN
}

/** How many warm sandboxes have become ready so far. The server has to log at `info`. */
export async function warmSandboxesReady(dataDir: string): Promise<number> {
  const text = await readFile(join(dataDir, 'berth.log'), 'utf8')
  return text.split('"warm sandbox ready"').length - 1
}
