/** What is kept warm, who gets it, and what is made anew; the runners are played. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEnvironmentBody } from '@berth/protocol/api/environment'
import type { WarmPoolParams } from '@berth/protocol/api/warm-pool'
import { pino } from 'pino'
import { expect, test, vi } from 'vitest'
import { Directories, listCosts, noGateway, testSealing } from '../../test/directories.ts'
import { PlayedRunners } from '../../test/played-runners.ts'
import { makePlaces, workspaceId } from '../../test/session-places.ts'
import { Archives } from '../blobs/archives.ts'
import { openFileBlobs } from '../blobs/fs/file-blobs.ts'
import { systemClock } from '../domain/clock.ts'
import { newEnvironment } from '../domain/environment.ts'
import { createIds } from '../domain/ids.ts'
import { openSqliteStore } from '../store/sqlite/open.ts'
import type { Store } from '../store/store.ts'
import { createEngine } from './create-engine.ts'
import type { Engine } from './engine.ts'

const WAIT = { timeout: 20_000 }
const ids = createIds(systemClock)
const now = (): string => systemClock.now().toISOString()
const initial_events = [{ type: 'user.message' as const, content: [{ type: 'text' as const, text: 'Hello' }] }]

interface World extends AsyncDisposable {
  readonly store: Store
  readonly driver: Directories
  readonly runners: PlayedRunners
  readonly engine: Engine
  readonly agent: string
  /** Lines. */
  readonly log: readonly string[]
  addEnvironment(pool: WarmPoolParams): Promise<string>
  /** Answers the session's sandbox, and since when that had been there: before the session or not. */
  begin(environment_id: string, vault_ids?: string[]): Promise<{ id: string; sandboxId: string; wasThere: boolean }>
}

async function openWorld(warmSandboxes = 8): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'bw-'))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rm(dir, { recursive: true }))
  const store = cleanup.use(await openSqliteStore(join(dir, 'berth.db')))
  const { agent } = await makePlaces(store)
  const driver = new Directories(dir)
  const log: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(line) })
  const parts = { store, driver, gateway: noGateway, clock: systemClock, ids, logger }
  const blobs = cleanup.use(await openFileBlobs(join(dir, 'blobs')))
  const archives = new Archives({ ...parts, blobs, index: store })
  const runners = cleanup.use(new PlayedRunners(driver, store))
  const given = {
    ...parts,
    archives,
    checkpointsPerSession: 50,
    costs: listCosts,
    sealing: testSealing,
    warmSandboxes,
    serverNumber: 1,
  }
  const engine = cleanup.use(await createEngine(given))
  const held = cleanup.move()
  return {
    store,
    driver,
    runners,
    engine,
    agent,
    log,
    addEnvironment: async (warm_pool) => {
      const body = newEnvironment(
        createEnvironmentBody.parse({ name: 'e', config: { type: 'cloud', berth: { warm_pool } } }),
      )
      const { id } = await store.createEnvironment({ workspaceId, id: ids.next('env'), body, now: now() })
      engine.poolsChanged()
      return id
    },
    begin: async (environment_id, vault_ids = []) => {
      const before = new Set(driver.refs.keys())
      const { id } = await engine.createSession({
        workspaceId,
        body: { agent, environment_id, initial_events, vault_ids },
      })
      const sandboxId = await vi.waitFor(async () => {
        const row = await store.findSession({ sessionId: id })
        if (row?.sandbox_id === null || row === undefined) throw new Error('no sandbox yet')
        return row.sandbox_id
      }, WAIT)
      return { id, sandboxId, wasThere: before.has(sandboxId) }
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

/** Waits until that many are ready, and none of them is one of `others`. */
async function untilWarm(world: World, size: number, others: readonly string[] = []): Promise<string[]> {
  return vi.waitFor(async () => {
    const warm = await world.store.listWarmSandboxes({})
    const areReady = warm.every((id) =>
      world.log.some((line) => line.includes('"warm sandbox ready"') && line.includes(id)),
    )
    expect({ size: warm.length, areReady }).toEqual({ size, areReady: true })
    expect(warm.filter((id) => others.includes(id))).toEqual([])
    return warm
  }, WAIT)
}

test('sessions that begin at once get a sandbox each, whoever comes after them one of their own, and others take their place', async () => {
  await using world = await openWorld()
  const environment = await world.addEnvironment({ size: 2, agent: world.agent })
  const before = await untilWarm(world, 2)
  const begun = await Promise.all([1, 2, 3].map(() => world.begin(environment)))
  const warm = begun.filter(({ wasThere }) => wasThere)
  expect(warm.map(({ sandboxId }) => sandboxId).toSorted()).toEqual(before.toSorted())
  expect(new Set(begun.map(({ sandboxId }) => sandboxId)).size).toBe(3)
  await untilWarm(world, 2, before)
})

test('what a waiting CLI has reported is acknowledged when there is a session whose it is, and not before', async () => {
  await using world = await openWorld()
  const environment = await world.addEnvironment({ size: 1, agent: world.agent })
  const [id = ''] = await untilWarm(world, 1)
  const types = (): string[] => world.runners.heardIn(id).map(({ type }) => type)
  expect(types()).toEqual(['welcome', 'frame'])
  const begun = await world.begin(environment)
  expect(begun.sandboxId).toBe(id)
  await vi.waitFor(() => expect(types()).toContain('ack'), WAIT)
  const frames = world.runners.heardIn(id).filter(({ type }) => type === 'frame')
  // One `open`, before there was the session; then its input. Both by the name that the sandbox gave it.
  expect(frames).toMatchObject([
    { seq: 1, session_id: id, body: { type: 'open' } },
    { seq: 2, session_id: id, body: { type: 'input' } },
  ])
  expect((await world.store.findSession({ sessionId: begun.id }))?.link_received).toBe(1)
})

test('a sandbox without a CLI serves a session under its own name', async () => {
  await using world = await openWorld()
  const environment = await world.addEnvironment({ size: 1 })
  const [warm] = await untilWarm(world, 1)
  const { id, sandboxId } = await world.begin(environment)
  expect(sandboxId).toBe(warm)
  await vi.waitFor(() => {
    const frames = world.runners.heardIn(sandboxId).flatMap((one) => (one.type === 'frame' ? [one.session_id] : []))
    expect(frames).toEqual([id, id])
  }, WAIT)
})

test('a session with variables of a vault takes no CLI that does not know them', async () => {
  await using world = await openWorld()
  const vaultId = ids.next('vlt')
  await world.store.createVault({ workspaceId, id: vaultId, body: { display_name: 'v' }, now: now() })
  const environment = await world.addEnvironment({ size: 1, agent: world.agent })
  const [withCli] = await untilWarm(world, 1)
  // Of which the CLI in the sandbox would be told nothing: it serves.
  const empty = await world.begin(environment, [vaultId])
  expect(empty.sandboxId).toBe(withCli)
  await untilWarm(world, 1, [empty.sandboxId])
  const networking = { type: 'limited' as const, allowed_hosts: ['a.example'] }
  const auth = { type: 'environment_variable' as const, secret_name: 'TOKEN', secret_value: 'x', networking }
  await world.engine.vaults.createCredential({ workspaceId, vaultId, body: { auth } })
  expect((await world.begin(environment, [vaultId])).wasThere).toBe(false)
  const plain = await world.addEnvironment({ size: 1 })
  await untilWarm(world, 2)
  const { sandboxId, wasThere } = await world.begin(plain, [vaultId])
  expect(wasThere).toBe(true)
  await vi.waitFor(() => {
    const opened = world.runners.heardIn(sandboxId).find((one) => one.type === 'frame' && one.body.type === 'open')
    const env = { TOKEN: expect.stringMatching(/^berth-placeholder-/) }
    expect(opened).toMatchObject({ body: { config: { env } } })
  }, WAIT)
})

test('a CLI that ends while it waits is replaced, and the sandbox with it', async () => {
  await using world = await openWorld()
  await world.addEnvironment({ size: 1, agent: world.agent })
  const [id = ''] = await untilWarm(world, 1)
  world.runners.report(id, id, { type: 'exited', reason: 'crashed', exit_code: 1, signal: null, detail: 'boom' })
  await untilWarm(world, 1, [id])
  expect(world.driver.destroyed).toEqual([id])
})

test('CLIs that cannot start are not tried again and again, and sessions start without', async () => {
  await using world = await openWorld()
  world.runners.onOpen = { type: 'exited', reason: 'start_failed', exit_code: 1, signal: null, detail: 'no' }
  const environment = await world.addEnvironment({ size: 2, agent: world.agent })
  await vi.waitFor(() => expect(world.driver.destroyed).toHaveLength(2), WAIT)
  // Asked to look again, it does not try.
  world.engine.poolsChanged()
  const { wasThere, sandboxId } = await world.begin(environment)
  expect(wasThere).toBe(false)
  await vi.waitFor(() => expect([...world.driver.refs.keys()]).toEqual([sandboxId]), WAIT)
  expect(world.driver.destroyed).toHaveLength(2)
})

test('all pools together keep no more than the server may, and an archived environment keeps none', async () => {
  await using world = await openWorld(3)
  const first = await world.addEnvironment({ size: 3, agent: world.agent })
  await world.addEnvironment({ size: 3 })
  await vi.waitFor(async () => {
    const known = await world.store.listSandboxes({})
    expect(known.map(({ warmFor }) => (warmFor === first ? 'first' : 'second')).toSorted()).toEqual([
      'first',
      'first',
      'second',
    ])
  }, WAIT)
  await world.store.archiveEnvironment({ workspaceId, id: first, now: now() })
  world.engine.poolsChanged()
  await vi.waitFor(async () => {
    const known = await world.store.listSandboxes({})
    expect(known.map(({ warmFor }) => warmFor === first)).toEqual([false, false, false])
  }, WAIT)
})

test('a warm sandbox is claimed once, by a session of its workspace that has nothing behind it, under its lease', async () => {
  await using world = await openWorld(0)
  const { store } = world
  const environmentId = await world.addEnvironment({ size: 1 })
  const place = { driver: 'd', nonce: 'n', now: now() }
  const add = (sandboxId: string, of = workspaceId): Promise<void> =>
    store.addWarmSandbox({ sandboxId, environmentId, workspaceId: of, ...place })
  await store.ensureWorkspace({ id: 'wrkspc_other', name: 'other', now: now() })
  await Promise.all([add('sbx_1'), add('sbx_2'), add('sbx_other', 'wrkspc_other')])
  const sessions = await Promise.all(
    [1, 2].map(async () => {
      const args = {
        id: ids.next('sesn'),
        threadId: ids.next('sthr'),
        workspaceId,
        now: now(),
        prices: listCosts.prices,
      }
      const body = { agent: world.agent, environment_id: environmentId }
      const { row } = await store.createSession({ ...args, body })
      const until = new Date(Date.now() + 60_000).toISOString()
      await store.takeLease({ groupId: row.group_id, holder: 'h', until, now: now() })
      return row.id
    }),
  )
  const claim = (sessionId: string, sandboxId: string, epoch = 1): Promise<boolean> =>
    store.claimWarmSandbox({ sessionId, sandboxId, epoch, ...place, parked: null })
  const [one = '', two = ''] = sessions
  await expect(claim(one, 'sbx_1', 2)).rejects.toMatchObject({ code: 'conflict' })
  expect(await store.listWarmSandboxes({})).toContain('sbx_1')
  expect(await claim(one, 'sbx_other')).toBe(false)
  const claims = await Promise.all(sessions.map((id) => claim(id, 'sbx_1')))
  expect(claims.filter(Boolean)).toEqual([true])
  const [winner, loser] =
    (await store.findSession({ sessionId: one }))?.sandbox_id === 'sbx_1' ? [one, two] : [two, one]
  expect(await claim(winner, 'sbx_2')).toBe(false)
  expect(await claim(loser, 'sbx_2')).toBe(true)
  expect((await store.listWarmSandboxes({})).toSorted()).toEqual(['sbx_other'])
})
