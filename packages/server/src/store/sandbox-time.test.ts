import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { listPrices } from '@berth/protocol/prices'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makePlaces, type Places, workspaceId } from '../../test/session-places.ts'
import { newEnvironment } from '../domain/environment.ts'
import { newId } from '../domain/ids.ts'
import { spansOf } from './sandbox-time.ts'
import { openSqliteStore } from './sqlite/open.ts'
import type { Store } from './store.ts'

let dir: string
let store: Store
let places: Places
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bt-time-'))
  store = await openSqliteStore(join(dir, 'berth.db'))
  places = await makePlaces(store)
})
afterAll(async () => {
  await store[Symbol.asyncDispose]()
  await rm(dir, { recursive: true })
})

const hour = (text: string) => `2026-11-22T${text}:00.000Z`

interface In {
  readonly environment_id: string
  /** Of a sandbox that it shares. */
  readonly sandbox?: string
}

async function sandboxOf(
  now: string,
  { environment_id, sandbox }: In = { environment_id: places.environments.continue },
): Promise<{ sessionId: string; sandboxId: string; epoch: number }> {
  const body = { agent: places.agent, environment_id, berth: { sandbox } }
  const sessionId = newId('sesn')
  const key = { id: sessionId, threadId: newId('sthr'), workspaceId }
  const { row } = await store.createSession({ ...key, body, prices: listPrices, now })
  const epoch =
    (await store.takeLease({ groupId: row.group_id, holder: 'me', until: '2099-01-01T00:00:00.000Z', now })) ?? 0
  const place = { sandboxId: newId('sbx'), driver: 'none', nonce: 'n', now }
  const sandboxId = await store.assignSandbox({ sessionId, epoch, ...place })
  return { sessionId, sandboxId, epoch }
}

const times = (sessionId: string, groupBy: ('day' | 'session')[] = ['day']) =>
  store.listSandboxTime({
    workspaceId,
    agentId: undefined,
    sessionId,
    fromDay: undefined,
    toDay: undefined,
    groupBy,
    after: undefined,
    limit: 10,
  })

test('is counted from the sandbox’s beginning to its end, once, day by day, and outlives the session', async () => {
  const { sessionId } = await sandboxOf(hour('23:30'))
  await store.noteSandboxTime({ now: hour('23:40') })
  await store.noteSandboxTime({ now: hour('23:40') })
  expect(await times(sessionId)).toEqual([{ key: ['2026-11-22'], ms: 600_000 }])
  await store.noteSandboxTime({ now: '2026-11-23T00:10:00.000Z' })
  await store.deleteSession({ workspaceId, sessionId, now: '2026-11-23T00:15:00.000Z' })
  await store.noteSandboxTime({ now: '2026-11-23T00:50:00.000Z' })
  expect(await times(sessionId)).toEqual([
    { key: ['2026-11-22'], ms: 30 * 60_000 },
    { key: ['2026-11-23'], ms: 15 * 60_000 },
  ])
  expect(await times(sessionId, ['session'])).toEqual([{ key: [sessionId], ms: 45 * 60_000 }])
  expect(await times(sessionId, [])).toEqual([{ key: [], ms: 45 * 60_000 }])
})

test('stands still while the sandbox is lost, and goes on when it is started again', async () => {
  const { sessionId, sandboxId, epoch } = await sandboxOf(hour('10:00'))
  const lost = { sessionId, epoch, sandboxId, why: 'lost', files: 'kept' as const, isCounted: false }
  await store.loseSandbox({ ...lost, now: hour('10:05') })
  await store.noteSandboxTime({ now: hour('10:30') })
  await store.restartSandbox({ epoch, sandboxId, nonce: 'n2', now: hour('10:40') })
  await store.noteSandboxTime({ now: hour('10:41') })
  expect(await times(sessionId)).toEqual([{ key: ['2026-11-22'], ms: 6 * 60_000 }])
})

async function longRunning(): Promise<string> {
  const id = newId('env')
  const config = { type: 'cloud' as const, berth: { lifecycle: { type: 'long_running' as const } } }
  const body = newEnvironment({ name: 'e', config })
  await store.createEnvironment({ workspaceId, id, body, now: hour('12:00') })
  return id
}

test('is shared by those who live in one, and goes on with those who stay', async () => {
  const environment_id = await longRunning()
  const [one, two] = [
    await sandboxOf(hour('12:00'), { environment_id, sandbox: 'both' }),
    await sandboxOf(hour('12:00'), { environment_id, sandbox: 'both' }),
  ]
  expect(two.sandboxId).toBe(one.sandboxId)
  await store.archiveSession({ workspaceId, sessionId: one.sessionId, now: hour('12:10') })
  await store.noteSandboxTime({ now: hour('12:20') })
  expect(await times(one.sessionId, [])).toEqual([{ key: [], ms: 5 * 60_000 }])
  expect(await times(two.sessionId, [])).toEqual([{ key: [], ms: 15 * 60_000 }])
})

test('before another came in is of those alone who were there', async () => {
  const environment_id = await longRunning()
  const one = await sandboxOf(hour('12:00'), { environment_id, sandbox: 'one by one' })
  const two = await sandboxOf(hour('12:10'), { environment_id, sandbox: 'one by one' })
  expect(two.sandboxId).toBe(one.sandboxId)
  await store.noteSandboxTime({ now: hour('12:20') })
  expect(await times(one.sessionId, [])).toEqual([{ key: [], ms: 15 * 60_000 }])
  expect(await times(two.sessionId, [])).toEqual([{ key: [], ms: 5 * 60_000 }])
  // Lost for both at once; who leaves then leaves no time behind, and a restart begins anew.
  const lost = {
    sessionId: one.sessionId,
    epoch: two.epoch,
    sandboxId: one.sandboxId,
    why: 'lost',
    files: 'kept' as const,
  }
  await store.loseSandbox({ ...lost, isCounted: false, now: hour('12:22') })
  await store.archiveSession({ workspaceId, sessionId: two.sessionId, now: hour('12:30') })
  await store.restartSandbox({ epoch: two.epoch, sandboxId: one.sandboxId, nonce: 'n2', now: hour('12:40') })
  await store.deleteSession({ workspaceId, sessionId: one.sessionId, now: hour('12:43') })
  expect(await times(one.sessionId, [])).toEqual([{ key: [], ms: 19 * 60_000 }])
  expect(await times(two.sessionId, [])).toEqual([{ key: [], ms: 6 * 60_000 }])
})

test('of a warm sandbox begins with the session that claims it', async () => {
  const environment_id = places.environments.continue
  const sandboxId = newId('sbx')
  const place = { driver: 'none', nonce: 'n' }
  await store.addWarmSandbox({ sandboxId, environmentId: environment_id, workspaceId, ...place, now: hour('14:00') })
  await store.noteSandboxTime({ now: hour('14:10') })
  const key = { id: newId('sesn'), threadId: newId('sthr'), workspaceId }
  const body = { agent: places.agent, environment_id }
  const { row } = await store.createSession({ ...key, body, prices: listPrices, now: hour('14:20') })
  const lease = { groupId: row.group_id, holder: 'me', until: '2099-01-01T00:00:00.000Z', now: hour('14:20') }
  const epoch = (await store.takeLease(lease)) ?? 0
  const claim = { sessionId: row.id, epoch, sandboxId, ...place, now: hour('14:20'), parked: null }
  expect(await store.claimWarmSandbox(claim)).toBe(true)
  await store.noteSandboxTime({ now: hour('14:25') })
  expect(await times(row.id, [])).toEqual([{ key: [], ms: 5 * 60_000 }])
})

test('of a sandbox that nobody renewed ends with its life', () => {
  expect(spansOf(hour('01:00'), hour('09:00'))).toEqual([{ day: '2026-11-22', ms: 65 * 60_000 }])
  expect(spansOf(hour('01:00'), hour('00:59'))).toEqual([])
})
