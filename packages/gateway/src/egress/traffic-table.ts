import type { DatabaseSync } from 'node:sqlite'
import { type EgressTraffic, egressTraffic } from '@berth/protocol/gateway'
import type { TrafficRow } from './audit-message.ts'

const schema = `
  CREATE TABLE IF NOT EXISTS traffic (
    session_id TEXT PRIMARY KEY,
    bytes_sent INTEGER NOT NULL,
    bytes_received INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`

/** How much each session has sent and received. It is never removed: who could make it be forgotten could begin anew. */
export class TrafficTable {
  readonly #db: DatabaseSync

  constructor(db: DatabaseSync) {
    this.#db = db
    this.#db.exec(schema)
  }

  /** All rows or none. */
  add(rows: readonly TrafficRow[]): void {
    const put = this.#db.prepare(
      `INSERT INTO traffic (session_id, bytes_sent, bytes_received) VALUES (?, ?, ?)
       ON CONFLICT (session_id) DO UPDATE SET
         bytes_sent = bytes_sent + excluded.bytes_sent, bytes_received = bytes_received + excluded.bytes_received`,
    )
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      for (const { session_id, bytes_sent, bytes_received } of rows) put.run(session_id, bytes_sent, bytes_received)
      this.#db.exec('COMMIT')
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }

  find(sessionId: string): EgressTraffic {
    const row = this.#db.prepare('SELECT bytes_sent, bytes_received FROM traffic WHERE session_id = ?').get(sessionId)
    return row === undefined ? { bytes_sent: 0, bytes_received: 0 } : egressTraffic.parse(row)
  }
}
