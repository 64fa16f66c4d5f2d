import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEnvironmentBody } from '@berth/protocol/api/environment'
import { listPrices } from '@berth/protocol/prices'
import { createSessionBody } from '@berth/protocol/api/session'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makePlaces, type Places, workspaceId } from '../../test/session-places.ts'
import { newEnvironment } from '../domain/environment.ts'
import { newId } from '../domain/ids.ts'
import type { SessionRow } from './session-log.ts'
import { openSqliteStore } from './sqlite/open.ts'
import type { Store } from './store.ts'

let cleanup: AsyncDisposableStack
let store: Store
let places: Places
const now = new Date().toISOString()

beforeAll(async () => {
  await using opened = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'sg-'))
  opened.defer(() => rm(dir, { recursive: true }))
  store = opened.use(await openSqliteStore(join(dir, 'berth.db')))
  places = await makePlaces(store)
  cleanup = opened.move()
})
afterAll(() => cleanup.disposeAsync())

async function environment(lifecycle: object, resources: object = {}): Promise<string> {
  const id = newId('env')
  const config = { type: 'cloud', berth: { lifecycle, resources } }
  const body = newEnvironment(createEnvironmentBody.parse({ name: 'e', config }))
  await store.createEnvironment({ workspaceId, id, body, now })
  return id
}

async function session(environment_id: string, sandbox?: string): Promise<SessionRow> {
  const body = createSessionBody.parse({ agent: places.agent, environment_id, berth: { sandbox } })
  const ids = { id: newId('sesn'), threadId: newId('sthr') }
  return (await store.createSession({ ...ids, workspaceId, body, now, prices: listPrices })).row
}

async function take(groupId: string, holder: string): Promise<number | undefined> {
  return store.takeLease({ groupId, holder, until: new Date(Date.now() + 60_000).toISOString(), now })
}

async function assign({ id: sessionId, group_id }: SessionRow, sandboxId = newId('sbx')): Promise<string> {
  const epoch = (await take(group_id, 'server-1')) ?? 0
  return store.assignSandbox({ sessionId, epoch, sandboxId, driver: 'd', nonce: 'n', now })
}

test('sessions that name a sandbox are a group, each with a uid of its own; others are alone', async () => {
  const [env, other] = [await environment({ type: 'long_running' }), await environment({ type: 'long_running' })]
  const [one, two] = [await session(env, 'a'), await session(env, 'a')]
  expect(one).toMatchObject({ sandbox_name: 'a', uid: 1001, subdir: one.id })
  expect(two).toMatchObject({ group_id: one.group_id, uid: 1002, subdir: two.id })
  const groups = [await session(env, 'b'), await session(other, 'a'), await session(env)]
  expect(new Set([one, ...groups].map(({ group_id }) => group_id)).size).toBe(4)
  expect(groups[2]).toMatchObject({ group_id: groups[2]?.id, sandbox_name: null, uid: 1000, subdir: '' })
  await store.deleteSession({ workspaceId, sessionId: two.id, now })
  expect((await session(env, 'a')).uid).toBe(1003)
})

test('they have one lease: who takes it over has all of them, and every write for any of them needs it', async () => {
  const env = await environment({ type: 'long_running' })
  const [one, two] = [await session(env, 'a'), await session(env, 'a')]
  expect(await take(one.group_id, 'server-1')).toBe(1)
  expect(await take(two.group_id, 'server-2')).toBeUndefined()
  expect(await store.renewLeases({ holder: 'server-1', until: now })).toContain(one.group_id)
  await store.releaseLeases({ holder: 'server-1' })
  expect(await take(two.group_id, 'server-2')).toBe(2)
  for (const { id: sessionId } of [one, two]) {
    const write = (epoch: number) => store.limitTurn({ sessionId, epoch, limit: 'turn_seconds', now })
    await expect(write(1)).rejects.toMatchObject({ code: 'conflict' })
    await expect(write(2)).resolves.toBeDefined()
  }
})

test('they have one sandbox: assigned once, lost and restarted for all, gone with the last', async () => {
  const env = await environment({ type: 'long_running' })
  const [one, two] = [await session(env, 'a'), await session(env, 'a')]
  const sandboxId = await assign(one)
  expect(await assign(two)).toBe(sandboxId)
  expect((await store.listSandboxSessions({ sandboxId })).map(({ id }) => id)).toEqual([one.id, two.id])
  expect((await store.listSandboxes({})).filter(({ id }) => id === sandboxId)).toMatchObject([
    { groupId: one.group_id },
  ])
  const loss = { sandboxId, epoch: 1, why: 'w', isCounted: false, now }
  expect((await store.loseSandbox({ ...loss, files: 'kept' })).map(({ row }) => row.sandbox_id)).toEqual([
    sandboxId,
    sandboxId,
  ])
  await store.restartSandbox({ sandboxId, epoch: 1, nonce: 'm', now })
  expect(await store.findSandbox({ sandboxId })).toMatchObject({ state: 'starting', nonce: 'm' })
  expect((await store.loseSandbox({ ...loss, files: 'gone' })).map(({ row }) => row.sandbox_id)).toEqual([null, null])
  expect(await store.loseSandbox({ ...loss, files: 'gone' })).toEqual([])
  await store.removeSandbox({ sandboxId, epoch: 1 })

  const next = await assign(two)
  expect(await assign(one)).toBe(next)
  const left = await store.archiveSession({ workspaceId, sessionId: one.id, now })
  expect(left.row.sandbox_id).toBeNull()
  const departure = { sandbox_id: next, session_id: one.id, uid: one.uid, subdir: one.id }
  expect(await store.listDepartures({})).toContainEqual(departure)
  await expect(store.removeSandbox({ sandboxId: next, epoch: undefined })).rejects.toMatchObject({ code: 'conflict' })
  expect((await store.deleteSession({ workspaceId, sessionId: two.id, now })).sandboxId).toBe(next)
  // Who comes now is the first again, and waits for nobody to be cleared away.
  const three = await session(env, 'a')
  expect(await assign(three)).not.toBe(next)
  await store.removeSandbox({ sandboxId: next, epoch: undefined })
  expect(await store.listDepartures({})).not.toContainEqual(departure)
})

test('the sandbox is as the first of them asked for it, until nobody lives there', async () => {
  const env = await environment({ type: 'long_running' }, { memory_mib: 512 })
  const change = async (memory_mib: number): Promise<void> => {
    const config = { type: 'cloud' as const, berth: { resources: { memory_mib } } }
    await store.updateEnvironment({ workspaceId, id: env, change: { config }, now })
  }
  const one = await session(env, 'a')
  await change(768)
  expect(memoryOf(await session(env))).toBe(768)
  const two = await session(env, 'a')
  expect(memoryOf(two)).toBe(512)
  for (const { id: sessionId } of [one, two]) await store.archiveSession({ workspaceId, sessionId, now })
  expect(memoryOf(await session(env, 'a'))).toBe(768)
})

function memoryOf(row: SessionRow): unknown {
  return /"memory_mib":(\d+)/.exec(row.environment)?.slice(1).map(Number)[0]
}

test('what cannot be shared is refused, naming the field', async () => {
  const refusals = [
    [{ type: 'hybrid' }, 'berth.sandbox: needs an environment whose lifecycle is long_running, not hybrid'],
    [{ type: 'ephemeral' }, 'not ephemeral'],
    [{ type: 'long_running', approval_hold: 5 }, 'no approval_hold'],
  ] as const
  for (const [lifecycle, message] of refusals) {
    const error = { code: 'invalid_request', message: expect.stringContaining(message) }
    await expect(session(await environment(lifecycle), 'a')).rejects.toMatchObject(error)
  }
  for (const name of ['', 'A', 'a/b', '..', 'x'.repeat(65)]) {
    expect(createSessionBody.safeParse({ agent: 'a', environment_id: 'e', berth: { sandbox: name } }).success).toBe(
      false,
    )
  }
})

test('a sandbox takes 64 sessions at a time', async () => {
  const env = await environment({ type: 'long_running' })
  const [one] = await Promise.all(Array.from({ length: 64 }, () => session(env, 'full')))
  const error = { code: 'invalid_request', message: expect.stringContaining('no more sessions in full: 64') }
  await expect(session(env, 'full')).rejects.toMatchObject(error)
  await store.archiveSession({ workspaceId, sessionId: one?.id ?? '', now })
  expect((await session(env, 'full')).uid).toBe(1065)
})
