import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isBerthError } from '@berth/protocol'
import { newKey } from '../domain/key.ts'
import { openSqliteStore } from '../store/sqlite/open.ts'
import type { Store } from '../store/store.ts'
import { FailedAttempts } from './failed-attempts.ts'
import { KeyCheck } from './key-check.ts'

let dir: string
let store: Store
let now = Date.parse('2026-01-01T00:00:00Z')
const clock = { now: () => new Date(now) }
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kc-'))
  store = await openSqliteStore(join(dir, 'berth.db'))
  await store.ensureWorkspace({ id: 'ws', name: 'ws', now: clock.now().toISOString() })
})
afterAll(async () => {
  await store[Symbol.asyncDispose]()
  await rm(dir, { recursive: true })
})

async function makeKey(expiresAt: string | null = null): Promise<{ id: string; key: string }> {
  const { key, hash, hint } = newKey()
  const id = `apikey_${hash.slice(0, 26)}`
  await store.createKey({ workspaceId: 'ws', id, name: 'k', hash, hint, expiresAt, now: clock.now().toISOString() })
  return { id, key }
}

/** `good`, what is wrong with it, or after how many milliseconds to come back. */
async function outcome(check: KeyCheck, key: string, source = 'a'): Promise<string | number | undefined> {
  try {
    const found = await check.find(key, source)
    return 'stored' in found ? 'good' : found.fault
  } catch (error) {
    return isBerthError(error, 'rate_limited') ? error.retryAfterMs : 'failed'
  }
}

const bad = () => newKey().key

test('after ten bad keys a source waits, and no other', async () => {
  const check = new KeyCheck({ store, clock })
  for (let n = 0; n < 10; n++) expect(await outcome(check, bad())).toBe('is not known')
  expect(await outcome(check, bad())).toBe(6000)
  expect(await outcome(check, bad(), 'b')).toBe('is not known')
  now += 2000
  expect(await outcome(check, bad())).toBe(4000)
  now += 4000
  expect([await outcome(check, bad()), await outcome(check, bad())]).toEqual(['is not known', 6000])
  now += 3_600_000
  for (let n = 0; n < 10; n++) expect(await outcome(check, bad())).toBe('is not known')
  now -= 7_200_000
  expect(await outcome(check, bad())).toBe(6000)
})

test('many at once are no more than one after another', async () => {
  const check = new KeyCheck({ store, clock })
  const outcomes = await Promise.all(Array.from({ length: 100 }, () => outcome(check, bad())))
  expect(outcomes.filter((each) => each === 'is not known')).toHaveLength(10)
})

test('a good key passes, also one that was never seen, and takes nothing', async () => {
  const check = new KeyCheck({ store, clock })
  const [{ key }, { key: unseen }] = [await makeKey(), await makeKey()]
  for (let n = 0; n < 50; n++) expect(await outcome(check, key)).toBe('good')
  for (let n = 0; n < 10; n++) expect(await outcome(check, bad())).toBe('is not known')
  expect(await outcome(check, bad())).toBe(6000)
  expect([await outcome(check, key), await outcome(check, unseen)]).toEqual(['good', 'good'])
  const { key: later } = await makeKey()
  expect(await outcome(check, later)).toBe(6000)
  now += 5000
  expect(await outcome(check, later)).toBe('good')
})

test('a key that has ended is a bad one, and was good for the last time', async () => {
  const check = new KeyCheck({ store, clock })
  const { id, key } = await makeKey()
  const { key: ending } = await makeKey(new Date(now + 1000).toISOString())
  expect([await outcome(check, key), await outcome(check, ending)]).toEqual(['good', 'good'])
  await store.revokeKey({ workspaceId: 'ws', id, now: clock.now().toISOString() })
  now += 1000
  expect(await outcome(check, key)).toBe('was revoked')
  expect(await outcome(check, ending)).toMatch(/^expired at/)
  for (let n = 0; n < 10; n++) expect(await outcome(check, key)).toBe('was revoked')
  expect(await outcome(check, key)).toBe(6000)
  expect(await outcome(check, ending)).toBe(6000)
})

test('what may be somebody else’s key is looked at as often as one likes', async () => {
  const check = new KeyCheck({ store, clock })
  for (let n = 0; n < 30; n++) expect(await check.look('theirs')).toEqual({ fault: 'is not known', isKnown: false })
  expect(await outcome(check, bad())).toBe('is not known')
})

test('of any number of sources some are known: those that came last', () => {
  const failed = new FailedAttempts(clock)
  for (let n = 0; n < 10; n++) failed.take('first')
  for (let n = 0; n < 10; n++) failed.take('busy')
  for (let n = 0; n < 30_000; n++) {
    failed.take(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`)
    if (n % 1000 === 0) expect(failed.take('busy')).toBeDefined()
  }
  expect(failed.sources).toBe(10_000)
  expect(failed.take('first')).toBeUndefined()
})
