/** One durable commit of SQLite with a row as large as an event: what accepting one cannot cost less than. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

export interface CommitFloor extends Disposable {
  /** Commits one row of so many bytes; answers how long it took, in ms. */
  commit(bytes: number): number
}

export function openCommitFloor(): CommitFloor {
  const dir = mkdtempSync(join(tmpdir(), 'commit-'))
  const database = new DatabaseSync(join(dir, 'floor.db'))
  database.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE events (id INTEGER PRIMARY KEY, body)',
  )
  const insert = database.prepare('INSERT INTO events (body) VALUES (?)')
  return {
    commit: (bytes) => {
      const body = 'x'.repeat(bytes)
      const began = performance.now()
      insert.run(body)
      return performance.now() - began
    },
    [Symbol.dispose]: () => {
      database.close()
      rmSync(dir, { recursive: true })
    },
  }
}
