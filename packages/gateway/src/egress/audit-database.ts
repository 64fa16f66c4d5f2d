import { DatabaseSync } from 'node:sqlite'
import { type EgressDecision, egressDecision } from '@berth/protocol/gateway'
import { z } from 'zod'
import type { AuditQuery, AuditRow } from './audit-message.ts'
import { TrafficTable } from './traffic-table.ts'

const schema = `
  CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    at TEXT NOT NULL,
    protocol TEXT NOT NULL,
    host TEXT,
    port INTEGER,
    decision TEXT NOT NULL,
    reason TEXT NOT NULL,
    credentials TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS decisions_by_session ON decisions (session_id, id);
  CREATE INDEX IF NOT EXISTS decisions_by_kind ON decisions (session_id, decision, id);
`

const stored = egressDecision.extend({
  credentials: z.string().transform((text) => egressDecision.shape.credentials.parse(JSON.parse(text))),
})

function columnsOf(row: AuditRow): (string | number | null)[] {
  const { session_id, at, protocol, host, port, decision, reason, credentials } = row
  return [session_id, at, protocol, host, port, decision, reason, JSON.stringify(credentials)]
}

export interface AuditBounds {
  /** Decisions kept of one session, of those that allow and of those that deny: neither can push out the other. */
  readonly perSession: number
  /** Kept of all sessions together. */
  readonly overall: number
}

/** How many more than the bound there may be before some are removed. */
const SLACK = 0.1

/**
 * The audit's file. What is written outlives the process; of the last moments before the machine itself fails, some may be missing.
 * The oldest decisions are removed when there are too many.
 */
export class AuditDatabase implements Disposable {
  readonly traffic: TrafficTable
  readonly #db: DatabaseSync
  readonly #bounds: AuditBounds
  /** Written since the session was last looked at, by session and decision. */
  readonly #since = new Map<string, number>()
  #total = 0

  constructor(path: string, bounds: AuditBounds) {
    this.#db = new DatabaseSync(path)
    this.#bounds = bounds
    this.#db.exec('PRAGMA journal_mode = WAL')
    this.#db.exec('PRAGMA synchronous = NORMAL')
    this.#db.exec(schema)
    this.traffic = new TrafficTable(this.#db)
    this.#trim()
  }

  /** All rows or none. */
  write(rows: readonly AuditRow[]): void {
    const put = this.#db.prepare(
      `INSERT INTO decisions (session_id, at, protocol, host, port, decision, reason, credentials)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      for (const row of rows) put.run(...columnsOf(row))
      for (const row of rows) this.#count(row)
      this.#db.exec('COMMIT')
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }

  /** Newest first. */
  list({ session_id, before, limit }: AuditQuery): EgressDecision[] {
    const rows = this.#db
      .prepare(
        `SELECT id, at, protocol, host, port, decision, reason, credentials FROM decisions
         WHERE session_id = ? AND id < ? ORDER BY id DESC LIMIT ?`,
      )
      .all(session_id, before ?? Number.MAX_SAFE_INTEGER, limit)
    return z.array(stored).parse(rows)
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }

  #count({ session_id, decision }: AuditRow): void {
    const key = `${session_id} ${decision}`
    const count = (this.#since.get(key) ?? 0) + 1
    this.#since.set(key, count)
    if (count >= this.#bounds.perSession * SLACK) {
      this.#since.delete(key)
      this.#trimSession(session_id, decision)
    }
    if (++this.#total >= this.#bounds.overall * SLACK) this.#trim()
  }

  #trimSession(sessionId: string, decision: string): void {
    this.#db
      .prepare(
        `DELETE FROM decisions WHERE session_id = ?1 AND decision = ?2 AND id <= (
           SELECT id FROM decisions WHERE session_id = ?1 AND decision = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)`,
      )
      .run(sessionId, decision, this.#bounds.perSession)
  }

  #trim(): void {
    this.#total = 0
    this.#since.clear()
    this.#db.prepare(`DELETE FROM decisions WHERE id <= (SELECT max(id) FROM decisions) - ?`).run(this.#bounds.overall)
  }
}
