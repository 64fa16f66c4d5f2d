/** Runs the numbered files of `migrations/` once each, forward, each in its own transaction with the note that it ran. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'

const migrationsDir = fileURLToPath(new URL('../../../migrations', import.meta.url))

/** Throws, with the database untouched, when it was written by a newer version. */
export function migrate(raw: DatabaseSync, dir: string = migrationsDir): void {
  raw.exec('CREATE TABLE IF NOT EXISTS schema_migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL)')
  const files = listMigrations(dir)
  const done = appliedVersion(raw)
  const newest = files.at(-1)?.number ?? 0
  if (done > newest) {
    throw new Error(
      `the database is of version ${done}, this server knows versions up to ${newest}: upgrade the server`,
    )
  }
  for (const file of files) {
    if (file.number <= done) continue
    raw.exec('BEGIN IMMEDIATE')
    try {
      raw.exec(readFileSync(join(dir, file.name), 'utf8'))
      raw.prepare('INSERT INTO schema_migrations (number, name) VALUES (?, ?)').run(file.number, file.name)
      raw.exec('COMMIT')
    } catch (error) {
      raw.exec('ROLLBACK')
      throw new Error(`migration ${file.name} failed`, { cause: error })
    }
  }
}

function listMigrations(dir: string): { number: number; name: string }[] {
  return readdirSync(dir)
    .filter((name) => /^\d{4}-.+\.sql$/.test(name))
    .sort()
    .map((name) => ({ number: Number.parseInt(name.slice(0, 4), 10), name }))
}

const versionRow = z.object({ version: z.number().nullable() })

function appliedVersion(raw: DatabaseSync): number {
  return versionRow.parse(raw.prepare('SELECT max(number) AS version FROM schema_migrations').get()).version ?? 0
}
