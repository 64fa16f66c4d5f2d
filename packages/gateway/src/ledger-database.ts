import { DatabaseSync } from 'node:sqlite'
import {
  type LedgerGroup,
  type ModelUsage,
  modelUsage,
  type UsageGroups,
  usageGroups,
  type UsageQuestion,
} from '@berth/protocol/gateway'
import { z } from 'zod'
import { type LedgerRow, spent, type Spent } from './ledger-message.ts'

const schema = `
  CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    upstream_request_id TEXT,
    model_asked TEXT NOT NULL,
    model_served TEXT,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_input_tokens INTEGER NOT NULL,
    cache_creation_5m_input_tokens INTEGER NOT NULL,
    cache_creation_1h_input_tokens INTEGER NOT NULL,
    web_search_requests INTEGER NOT NULL,
    list_cost INTEGER,
    status INTEGER,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT
  ) STRICT;
  CREATE INDEX IF NOT EXISTS requests_by_session ON requests (session_id);
  CREATE INDEX IF NOT EXISTS requests_by_workspace ON requests (workspace_id, started_at);
  CREATE INDEX IF NOT EXISTS requests_under_way ON requests (id) WHERE outcome IS NULL;
`

const columns = [
  'id',
  'session_id',
  'workspace_id',
  'agent_id',
  'upstream_request_id',
  'model_asked',
  'model_served',
  'input_tokens',
  'output_tokens',
  'cache_read_input_tokens',
  'cache_creation_5m_input_tokens',
  'cache_creation_1h_input_tokens',
  'web_search_requests',
  'list_cost',
  'status',
  'started_at',
  'ended_at',
  'outcome',
] as const satisfies readonly (keyof LedgerRow)[]

const model = 'coalesce(model_served, model_asked)'
const cost = `
  coalesce(sum(list_cost), 0) AS list_cost,
  coalesce(sum(list_cost IS NULL), 0) AS unpriced_requests
`
const sums = `
  count(*) AS requests,
  coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(output_tokens), 0) AS output_tokens,
  coalesce(sum(cache_read_input_tokens), 0) AS cache_read_input_tokens,
  coalesce(sum(cache_creation_5m_input_tokens), 0) AS cache_creation_5m_input_tokens,
  coalesce(sum(cache_creation_1h_input_tokens), 0) AS cache_creation_1h_input_tokens,
  coalesce(sum(web_search_requests), 0) AS web_search_requests, ${cost}
`
const settled = 'outcome IS NOT NULL'

const ofSession = `SELECT ${model} AS model, ${sums} FROM requests WHERE session_id = ? AND ${settled} GROUP BY 1 ORDER BY 1`

const expressions: Readonly<Record<LedgerGroup, string>> = {
  day: 'substr(started_at, 1, 10)',
  agent: 'agent_id',
  session: 'session_id',
  model,
}

const keyed = z.looseObject({
  k0: z.string().optional(),
  k1: z.string().optional(),
  k2: z.string().optional(),
  k3: z.string().optional(),
})

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
    return z.array(modelUsage).parse(this.#db.prepare(ofSession).all(sessionId))
  }

  spentBy(sessionId: string): Spent {
    const query = `SELECT ${cost} FROM requests WHERE session_id = ? AND ${settled}`
    return spent.parse(this.#db.prepare(query).get(sessionId))
  }

  spentOn(workspaceId: string, day: string): Spent {
    const query = `SELECT ${cost} FROM requests WHERE workspace_id = ? AND started_at >= ? AND started_at < ? AND ${settled}`
    return spent.parse(this.#db.prepare(query).get(workspaceId, day, `${day}U`))
  }

  groups(question: UsageQuestion): UsageGroups['groups'] {
    const { workspace_id, agent_id, session_id, from_day, to_day, group_by, after, limit } = question
    const keys = group_by.map((group) => expressions[group])
    const where = ['workspace_id = ?', settled]
    const values = [workspace_id]
    const filter = (condition: string, value: string | null): void => {
      if (value === null) return
      where.push(condition)
      values.push(value)
    }
    filter('agent_id = ?', agent_id)
    filter('session_id = ?', session_id)
    filter('started_at >= ?', from_day)
    // Behind every time of the day, which goes on with a T.
    filter('started_at < ?', to_day === null ? null : `${to_day}U`)
    if (after !== null && after.length === keys.length && keys.length > 0) {
      where.push(`(${keys.join(', ')}) > (${keys.map(() => '?').join(', ')})`)
      values.push(...after)
    }
    const places = keys.map((_, index) => String(index + 1)).join(', ')
    const query = `
      SELECT ${keys.map((key, index) => `${key} AS k${index}, `).join('')}${sums} FROM requests WHERE ${where.join(' AND ')}
      ${keys.length === 0 ? '' : `GROUP BY ${places} ORDER BY ${places}`} LIMIT ?
    `
    const rows = this.#db.prepare(query).all(...values, limit)
    return usageGroups.shape.groups.parse(
      rows.map((row) => {
        const { k0, k1, k2, k3, ...counts } = keyed.parse(row)
        return { key: [k0, k1, k2, k3].filter((part) => part !== undefined), ...counts }
      }),
    )
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}
