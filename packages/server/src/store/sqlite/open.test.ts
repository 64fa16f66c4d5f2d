import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openSqliteStore } from './open.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-store-'))
})
afterEach(async () => {
  await rm(dir, { recursive: true })
})

const now = '2026-01-01T00:00:00.000Z'

test('what was written is read, also after reopening', async () => {
  const path = join(dir, 'berth.db')
  {
    await using store = await openSqliteStore(path)
    await store.ensureWorkspace({ id: 'wrkspc_1', name: 'one', now })
    expect(await store.findWorkspace({ id: 'wrkspc_1' })).toEqual({ id: 'wrkspc_1', name: 'one' })
  }
  await using again = await openSqliteStore(path)
  expect(await again.findWorkspace({ id: 'wrkspc_1' })).toEqual({ id: 'wrkspc_1', name: 'one' })
})

test('a call that fails undoes itself alone, its neighbours in the same commit stand', async () => {
  await using store = await openSqliteStore(join(dir, 'berth.db'))
  const results = await Promise.allSettled([
    store.ensureWorkspace({ id: 'a', name: 'a', now }),
    // A missing name breaks NOT NULL.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    store.ensureWorkspace({ id: 'b', name: null as unknown as string, now }),
    store.ensureWorkspace({ id: 'c', name: 'c', now }),
  ])
  expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(await store.findWorkspace({ id: 'a' })).toBeDefined()
  expect(await store.findWorkspace({ id: 'b' })).toBeUndefined()
  expect(await store.findWorkspace({ id: 'c' })).toBeDefined()
})

test('commits are durable: WAL with synchronous=FULL', async () => {
  const path = join(dir, 'berth.db')
  await using _store = await openSqliteStore(path)
  const raw = new DatabaseSync(path, { readOnly: true })
  expect(raw.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' })
  raw.close()
})

test.each(['agents', 'environments', 'sessions', 'api_keys'])(
  "a page of one workspace's %s reads no other workspace's",
  async (table) => {
    const path = join(dir, 'berth.db')
    await using _store = await openSqliteStore(path)
    const raw = new DatabaseSync(path, { readOnly: true })
    const page = `SELECT * FROM ${table} WHERE workspace_id = ? AND ord < ? ORDER BY ord DESC LIMIT 21`
    const plan = raw.prepare(`EXPLAIN QUERY PLAN ${page}`).all('w', 1)
    raw.close()
    expect(plan.map(({ detail }) => detail)).toEqual([
      `SEARCH ${table} USING INDEX ${table}_by_workspace (workspace_id=? AND ord<?)`,
    ])
  },
)

test('a database of a newer version is refused', async () => {
  const path = join(dir, 'berth.db')
  {
    await using _store = await openSqliteStore(path)
  }
  const raw = new DatabaseSync(path)
  raw.exec("INSERT INTO schema_migrations VALUES (9999, '9999-future.sql')")
  raw.close()
  await expect(openSqliteStore(path)).rejects.toThrow('of version 9999')
})

test('calls after closing are refused', async () => {
  const store = await openSqliteStore(join(dir, 'berth.db'))
  await store[Symbol.asyncDispose]()
  await expect(store.findWorkspace({ id: 'x' })).rejects.toThrow('the store is closed')
})
