import { writeFile } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { temporary } from './fixture/running-gateway.ts'
import { Ledger } from './ledger.ts'
import type { LedgerRow } from './ledger-message.ts'

let directory: Awaited<ReturnType<typeof temporary>>
beforeEach(async () => (directory = await temporary()))
afterEach(() => directory[Symbol.asyncDispose]())

const fatal = (error: Error) => {
  throw error
}
const NOW = '2026-01-01T00:00:00.000Z'

function open(): Promise<Ledger> {
  return Ledger.open(join(directory.path, 'ledger.db'), NOW, fatal)
}

function row(id: string, given: Partial<LedgerRow> = {}): LedgerRow {
  return {
    id,
    session_id: 's',
    workspace_id: 'w',
    agent_id: 'agent',
    list_cost: 7,
    upstream_request_id: null,
    model_asked: 'm',
    model_served: null,
    input_tokens: 1,
    output_tokens: 2,
    cache_read_input_tokens: 3,
    cache_creation_5m_input_tokens: 4,
    cache_creation_1h_input_tokens: 5,
    web_search_requests: 6,
    status: 200,
    started_at: NOW,
    ended_at: NOW,
    outcome: 'ok',
    ...given,
  }
}

test('sums per session and model; what is under way does not count yet', async () => {
  await using ledger = await open()
  await Promise.all([
    ledger.write(row('1')),
    ledger.write(row('2', { model_served: 'n' })),
    ledger.write(row('3', { model_served: 'n', outcome: 'cut' })),
    ledger.write(row('4', { outcome: null })),
    ledger.write(row('5', { session_id: 'other' })),
  ])
  const one = {
    requests: 1,
    input_tokens: 1,
    output_tokens: 2,
    cache_read_input_tokens: 3,
    cache_creation_5m_input_tokens: 4,
    cache_creation_1h_input_tokens: 5,
    web_search_requests: 6,
    list_cost: 7,
    unpriced_requests: 0,
  }
  const two = Object.fromEntries(Object.entries(one).map(([key, value]) => [key, 2 * value]))
  expect(await ledger.usage('s')).toEqual([
    { model: 'm', ...one },
    { model: 'n', ...two },
  ])
  expect(await ledger.usage('nobody')).toEqual([])
})

test('counts what was handed over before, however much is on its way to the disk', async () => {
  await using ledger = await open()
  const writes = [ledger.write(row('1', { outcome: null })), ledger.write(row('1')), ledger.write(row('2'))]
  expect(await ledger.usage('s')).toMatchObject([{ requests: 2 }])
  await Promise.all(writes)
})

test('a later row of the same id replaces the earlier, also within one batch', async () => {
  await using ledger = await open()
  await Promise.all([
    ledger.write(row('1', { outcome: null, output_tokens: 0 })),
    ledger.write(row('1', { outcome: null, output_tokens: 1 })),
    ledger.write(row('1', { output_tokens: 9 })),
  ])
  expect(await ledger.usage('s')).toMatchObject([{ requests: 1, output_tokens: 9 }])
})

test('what an earlier process left open is cut at the next start, with what was seen', async () => {
  {
    await using ledger = await open()
    await ledger.write(row('1', { outcome: null, ended_at: null }))
  }
  {
    await using ledger = await open()
    expect(await ledger.usage('s')).toMatchObject([{ requests: 1, input_tokens: 1 }])
  }
  using database = new DatabaseSync(join(directory.path, 'ledger.db'))
  expect(database.prepare('SELECT outcome, ended_at FROM requests').all()).toEqual([{ outcome: 'cut', ended_at: NOW }])
})

test('many writers share commits', async () => {
  await using ledger = await open()
  await Promise.all(Array.from({ length: 2000 }, (_, i) => ledger.write(row(String(i)))))
  expect(await ledger.usage('s')).toMatchObject([{ requests: 2000 }])
})

test('a failed write is told to whoever waits, and the ledger recovers', async () => {
  await using ledger = await open()
  using blocker = new DatabaseSync(join(directory.path, 'ledger.db'))
  blocker.exec('BEGIN IMMEDIATE')
  await expect(ledger.write(row('1'))).rejects.toThrow('could not be written')
  expect(ledger.healthy).toBe(false)
  blocker.exec('ROLLBACK')
  await ledger.write(row('2'))
  expect(ledger.healthy).toBe(true)
  expect(await ledger.usage('s')).toMatchObject([{ requests: 1 }])
})

test('a file that is no ledger is refused at once', async () => {
  await writeFile(join(directory.path, 'ledger.db'), 'not a database, but long enough to be looked at '.repeat(50))
  await expect(open()).rejects.toThrow('not a database')
})
