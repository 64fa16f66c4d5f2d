/** Environments that keep sandboxes warm, and which sandbox a session has: no client can see that, so it is read from the server's database. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type Anthropic from '@anthropic-ai/sdk'
import type { TestBerth } from './test-berth.ts'
import { waitUntil } from './wait-until.ts'

interface Pool {
  readonly size: number
  readonly agent?: string
}

export function createWarmEnvironment(
  berth: TestBerth,
  warm_pool: Pool,
  rest: object = {},
): Promise<Anthropic.Beta.BetaEnvironment> {
  const config = { type: 'cloud' as const, berth: { ...rest, warm_pool } }
  return berth.createEnvironment({ config })
}

function read(berth: TestBerth, query: string, id: string): string[] {
  using database = new DatabaseSync(join(berth.dir, 'berth.db'), { readOnly: true })
  return database
    .prepare(query)
    .all(id)
    .map((row) => String(row['id']))
}

/** Those that wait for a session of the environment by now, ready ones only. */
export function warmSandboxes(berth: TestBerth, environmentId: string): string[] {
  const log = berth.server.log().split('\n')
  const isReady = (id: string): boolean => log.some((line) => line.includes('warm sandbox ready') && line.includes(id))
  return read(berth, 'SELECT id FROM sandboxes WHERE warm_for = ? ORDER BY id', environmentId).filter(isReady)
}

/** Waits until that many are ready, and none of them is one of `others`. */
export function untilWarm(
  berth: TestBerth,
  environmentId: string,
  { size, others = [] }: { size: number; others?: readonly string[] },
): Promise<string[]> {
  return waitUntil(
    `${size} warm sandboxes are ready`,
    () => {
      const ids = warmSandboxes(berth, environmentId)
      return ids.length === size && !ids.some((id) => others.includes(id)) ? ids : undefined
    },
    AbortSignal.timeout(90_000),
  )
}

/** Waits until the session has one. */
export function sandboxOf(berth: TestBerth, sessionId: string): Promise<string> {
  const query = 'SELECT sandbox_id AS id FROM sessions WHERE id = ? AND sandbox_id IS NOT NULL'
  return waitUntil('the session has a sandbox', () => read(berth, query, sessionId)[0])
}

/** The pool, and with it every warm sandbox of the environment, goes. */
export async function endPool(berth: TestBerth, environmentId: string): Promise<void> {
  await berth.client.beta.environments.archive(environmentId)
  const query = 'SELECT id FROM sandboxes WHERE warm_for = ?'
  await waitUntil('no warm sandbox is left', () => read(berth, query, environmentId).length === 0)
}
