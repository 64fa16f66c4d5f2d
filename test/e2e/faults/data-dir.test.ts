import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSqliteStore } from '@berth/server/store/sqlite/open'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { berthProcess } from '../../../packages/cli/test/berth-process.ts'
import { startTestBerth } from '../../harness/test-berth.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bt-'))
})
afterEach(() => rm(dir, { recursive: true }))

const serve = (dataDir: string) =>
  berthProcess(['serve', '--data-dir', dataDir, '--listen', '127.0.0.1:0', '--model', 'scripted'])

test('a data directory has one server: the second is refused by name, and the first goes on', async () => {
  await using berth = await startTestBerth()
  const second = await serve(berth.dir)
  expect(second.code).toBe(1)
  expect(second.err).toBe(`berth: ${berth.dir} is in use by another berth server\n`)
  expect(second.out).not.toContain('ready')
  expect((await berth.client.beta.sessions.list()).data).toEqual([])
})

test('a data directory of a newer version is refused, and left as it was', async () => {
  const path = join(dir, 'berth.db')
  await (await openSqliteStore(path))[Symbol.asyncDispose]()
  const from = new DatabaseSync(path)
  from.exec("INSERT INTO schema_migrations (number, name) VALUES (9999, '9999-from-the-future.sql')")
  from.close()
  const { code, err, out } = await serve(dir)
  expect(code).toBe(1)
  expect(err).toMatch(/^berth: the database is of version 9999, .*upgrade the server\n$/)
  expect(out).not.toContain('ready')
  const after = new DatabaseSync(path)
  expect(after.prepare('SELECT max(number) AS version FROM schema_migrations').get()).toEqual({ version: 9999 })
  after.close()
})

test.each([
  ['is no database', (path: string) => writeFile(path, 'x'.repeat(50_000))],
  ['was cut off', (path: string) => truncate(path, 20_000)],
  ['was cut off within a page', (path: string) => truncate(path, 6_001)],
  [
    'has a damaged head',
    async (path: string) => {
      const bytes = await readFile(path)
      await writeFile(path, bytes.fill(0xff, 16, 4_096))
    },
  ],
])('a database that %s is refused by name, and left as it was', async (_what, damage) => {
  const path = join(dir, 'berth.db')
  await (await openSqliteStore(path))[Symbol.asyncDispose]()
  await damage(path)
  const before = await readFile(path)
  const { code, err, out } = await serve(dir)
  expect(code).toBe(1)
  expect(err).toBe(
    `berth: the database ${path} is damaged (${/damaged \((.*?)\)/.exec(err)?.[1]}); put a backup in its place\n`,
  )
  expect(out).not.toContain('ready')
  expect((await readFile(path)).equals(before)).toBe(true)
})
