import { DatabaseSync } from 'node:sqlite'
import { type ModelUsage, modelUsage } from '@berth/protocol/gateway'
import { z } from 'zod'
import type { LedgerRow } from './ledger-message.ts'

const schema = `
  CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    upstream_request_id TEXT,
    model_asked TEXT NOT NULL,
    model_served TEXT,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_input_tokens INTEGER NOT NULL,
    cache_creation_5m_input_tokens INTEGER NOT NULL,
    cache_creation_1h_input_tokens INTEGER NOT NULL,
    web_search_requests INTEGER NOT NULL,
    status INTEGER,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT
  ) STRICT;
  CREATE INDEX IF NOT EXISTS requests_by_session ON requests (session_id);
  CREATE INDEX IF NOT EXISTS requests_under_way ON requests (id) WHERE outcome IS NULL;
`

const columns = [
  'id',
  'session_id',
  'workspace_id',
  'upstream_request_id',
  'model_asked',
  'model_served',
  'input_tokens',
  'output_tokens',
  'cache_read_input_tokens',
  'cache_creation_5m_input_tokens',
  'cache_creation_1h_input_tokens',
  'web_search_requests',
  'status',
  'started_at',
  'ended_at',
  'outcome',
] as const satisfies readonly (keyof LedgerRow)[]

const sums = `
  SELECT coalesce(model_served, model_asked) AS model, count(*) AS requests,
    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
    sum(cache_read_input_tokens) AS cache_read_input_tokens,
    sum(cache_creation_5m_input_tokens) AS cache_creation_5m_input_tokens,
    sum(cache_creation_1h_input_tokens) AS cache_creation_1h_input_tokens,
    sum(web_search_requests) AS web_search_requests
  FROM requests WHERE session_id = ? AND outcome IS NOT NULL GROUP BY 1 ORDER BY 1
`

/** The ledger's file. Synchronous and slow on purpose (every write is on disk when it returns): for a worker thread. */
export class LedgerDatabase implements Disposable {
  readonly #db: DatabaseSync

  /** Closes as `cut`, ended at `now`, what an earlier process left open. */
  constructor(path: string, now: string) {
    this.#db = new DatabaseSync(path)
    this.#db.exec('PRAGMA journal_mode = WAL')
    this.#db.exec('PRAGMA synchronous = FULL')
    this.#db.exec(schema)
    this.#db.prepare(`UPDATE requests SET outcome = 'cut', ended_at = ? WHERE outcome IS NULL`).run(now)
    const { synchronous } = z.object({ synchronous: z.int() }).parse(this.#db.prepare('PRAGMA synchronous').get())
    if (synchronous !== 2) throw new Error(`ledger: synchronous is ${synchronous}, not FULL`)
  }

  /** All rows or none; a row replaces the one of its id. */
  write(rows: readonly LedgerRow[]): void {
    const put = this.#db.prepare(
      `INSERT OR REPLACE INTO requests (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
    )
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      for (const row of rows) put.run(...columns.map((column) => row[column]))
      this.#db.exec('COMMIT')
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }

  usage(sessionId: string): ModelUsage[] {
    return z.array(modelUsage).parse(this.#db.prepare(sums).all(sessionId))
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}
