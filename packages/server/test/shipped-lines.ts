/** What the store has of a session's transcript. */
import type { DatabaseSync } from 'node:sqlite'

export class ShippedLines {
  readonly #raw: DatabaseSync
  readonly #sessionId: string

  constructor(raw: DatabaseSync, sessionId: string) {
    this.#raw = raw
    this.#sessionId = sessionId
  }

  /** Those of an input that runs again are taken out. */
  hold(uuid: string): boolean {
    const find = this.#raw.prepare('SELECT 1 FROM transcripts WHERE session_id = ? AND text LIKE ?')
    return find.get(this.#sessionId, `%${uuid}%`) !== undefined
  }

  bytes(): number {
    const row = this.#raw
      .prepare('SELECT sum(length) AS size FROM transcripts WHERE session_id = ?')
      .get(this.#sessionId)
    return Number(row?.['size'] ?? 0)
  }
}
