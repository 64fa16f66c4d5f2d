import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { migrate } from './migrate.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-migrate-'))
  await writeFile(join(dir, '0001-one.sql'), 'CREATE TABLE one (a INTEGER); INSERT INTO one VALUES (1);')
})
afterEach(() => rm(dir, { recursive: true }))

const path = (): string => join(dir, 'test.db')

function look(): { tables: unknown[]; applied: unknown[] } {
  using raw = new DatabaseSync(path())
  const tables = raw.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").all()
  const applied = raw.prepare('SELECT number FROM schema_migrations ORDER BY number').all()
  return { tables: tables.map(({ name }) => name), applied: applied.map(({ number }) => number) }
}

function migrateNow(): void {
  using raw = new DatabaseSync(path())
  migrate(raw, dir)
}

test('a migration that is killed half-way is as if it had not begun, and the next start does it', async () => {
  migrateNow()
  // Long enough to be killed in: what comes before it has been done by then, within the transaction.
  const endless = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n;'
  await writeFile(join(dir, '0002-two.sql'), `CREATE TABLE two (b INTEGER); DELETE FROM one; ${endless}`)
  const code = `
    import { DatabaseSync } from 'node:sqlite'
    import { migrate } from ${JSON.stringify(join(import.meta.dirname, 'migrate.ts'))}
    const raw = new DatabaseSync(${JSON.stringify(path())})
    raw.exec('PRAGMA journal_mode = WAL; PRAGMA cache_size = 1')
    process.stdout.write('begun')
    migrate(raw, ${JSON.stringify(dir)})
  `
  const killed = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    timeout: 5_000,
    killSignal: 'SIGKILL',
  })
  expect([killed.signal, killed.stdout.toString()]).toEqual(['SIGKILL', 'begun'])
  expect(look()).toEqual({ tables: ['one', 'schema_migrations'], applied: [1] })

  await writeFile(join(dir, '0002-two.sql'), 'CREATE TABLE two (b INTEGER);')
  migrateNow()
  migrateNow()
  expect(look()).toEqual({ tables: ['one', 'schema_migrations', 'two'], applied: [1, 2] })
})

test('a migration that fails leaves nothing of itself, and is named', async () => {
  await writeFile(join(dir, '0002-two.sql'), 'CREATE TABLE two (b INTEGER); INSERT INTO nowhere VALUES (1);')
  expect(migrateNow).toThrow('migration 0002-two.sql failed')
  expect(look()).toEqual({ tables: ['one', 'schema_migrations'], applied: [1] })
})
