/** A server whose lease has passed to another: whatever it does under the old epoch is refused, and it gives the sandbox up. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEnvironmentBody } from '@berth/protocol/api/environment'
import { fromServer, type FromServer, LINK_PROTOCOL, linkClose, type Report } from '@berth/protocol'
import type { SandboxRef } from '@berth/sandbox'
import { pino } from 'pino'
import { expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { Directories, linkOf, listCosts, noGateway, testSealing } from '../../test/directories.ts'
import { makePlaces, workspaceId } from '../../test/session-places.ts'
import { systemClock } from '../domain/clock.ts'
import { newEnvironment } from '../domain/environment.ts'
import { createIds, newId } from '../domain/ids.ts'
import { openSqliteStore } from '../store/sqlite/open.ts'
import type { Store } from '../store/store.ts'
import { Archives } from '../blobs/archives.ts'
import { openFileBlobs } from '../blobs/fs/file-blobs.ts'
import { createEngine } from './create-engine.ts'
import type { Engine } from './engine.ts'

const started: Report = { type: 'started', pid: 1, cli_version: '1' }
const crashed: Report = { type: 'exited', reason: 'crashed', exit_code: 1, signal: null, detail: '' }
const said = (text: string) => [{ type: 'user.message' as const, content: [{ type: 'text' as const, text }] }]

class World implements AsyncDisposable {
  readonly store: Store
  readonly driver: Directories
  readonly engine: Engine
  readonly sessionId: string
  readonly agent: string
  readonly #cleanup: AsyncDisposableStack

  private constructor(
    parts: Pick<World, 'store' | 'driver' | 'engine' | 'sessionId' | 'agent'>,
    cleanup: AsyncDisposableStack,
  ) {
    this.store = parts.store
    this.driver = parts.driver
    this.engine = parts.engine
    this.sessionId = parts.sessionId
    this.agent = parts.agent
    this.#cleanup = cleanup
  }

  /** One session with an input, and a sandbox for it. */
  static async open(): Promise<World> {
    const dir = await mkdtemp(join(tmpdir(), 'bl-'))
    await using cleanup = new AsyncDisposableStack()
    cleanup.defer(() => rm(dir, { recursive: true }))
    const store = cleanup.use(await openSqliteStore(join(dir, 'berth.db')))
    const driver = new Directories(dir)
    const places = await makePlaces(store)
    const shared = { store, driver, gateway: noGateway, clock: systemClock, ids: createIds(systemClock) }
    const logger = pino({ level: 'silent' })
    const blobs = cleanup.use(await openFileBlobs(join(dir, 'blobs')))
    const archives = new Archives({ ...shared, blobs, index: store, logger })
    const given = {
      ...shared,
      archives,
      checkpointsPerSession: 50,
      warmSandboxes: 0,
      costs: listCosts,
      sealing: testSealing,
      logger,
      serverNumber: 2,
    }
    const engine = cleanup.use(await createEngine(given))
    const body = {
      agent: places.agent,
      environment_id: places.environments.continue,
      initial_events: said('Hello'),
    }
    const { id } = await engine.createSession({ workspaceId, body })
    await vi.waitFor(() => expect(driver.refs.size).toBe(1))
    return new World({ store, driver, engine, sessionId: id, agent: places.agent }, cleanup.move())
  }

  async runner(epoch = 0): Promise<FakeRunner> {
    const [ref] = this.driver.refs.values()
    const sandbox = await this.store.findSandbox({ sandboxId: ref?.id ?? '' })
    if (ref === undefined || sandbox === undefined) throw new Error('no sandbox')
    const progress = { session_id: this.sessionId, received: 0 }
    return FakeRunner.dial(ref, { nonce: sandbox.nonce, epoch, sessions: [progress] })
  }

  /** Another server, started before this one, has the session from now on. Answers its epoch. */
  async passLease(groupId: string = this.sessionId): Promise<number> {
    await this.store.releaseLeases({ holder: null })
    const now = new Date()
    const until = new Date(now.getTime() + 3_600_000).toISOString()
    const lease = { groupId, holder: 'server-1', until, now: now.toISOString() }
    return (await this.store.takeLease(lease)) ?? 0
  }

  async log(sessionId: string = this.sessionId): Promise<string[]> {
    const listed = await this.store.listEventsAfter({ sessionId, after: 0, limit: 1_000 })
    return listed.map(({ event }) => event.type)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#cleanup.disposeAsync()
  }
}

class FakeRunner {
  readonly heard: FromServer[] = []
  readonly closed: Promise<number>
  readonly #socket: WebSocket

  private constructor(socket: WebSocket) {
    this.#socket = socket
    this.closed = once(socket, 'close').then(([code]) => Number(code))
    socket.on('message', (data: Buffer) => void this.heard.push(fromServer.parse(JSON.parse(data.toString('utf8')))))
  }

  static async dial(ref: SandboxRef, hello: object): Promise<FakeRunner> {
    const address = `ws+unix:${linkOf(ref.runDir ?? '')}:/`
    const dial = async (): Promise<WebSocket> => {
      const socket = new WebSocket(address)
      await once(socket, 'open')
      return socket
    }
    const socket = await vi.waitFor(dial, 5_000)
    const runner = new FakeRunner(socket)
    runner.#say({ type: 'hello', protocol: LINK_PROTOCOL, sandbox_id: ref.id, ...hello })
    return runner
  }

  report(session_id: string, seq: number, body: Report): void {
    this.#say({ type: 'frame', session_id, seq, body })
  }

  async until<Kind extends FromServer['type']>(type: Kind): Promise<Extract<FromServer, { type: Kind }>> {
    return vi.waitFor(() => {
      const found = this.heard.find((message): message is Extract<FromServer, { type: Kind }> => message.type === type)
      if (found === undefined) throw new Error(`no ${type} yet`)
      return found
    })
  }

  #say(message: object): void {
    this.#socket.send(JSON.stringify(message))
  }
}

test('driver and link carry the epoch of the lease, whatever number the server has', async () => {
  await using world = await World.open()
  const runner = await world.runner()
  expect((await runner.until('welcome')).epoch).toBe(1)
  expect(world.driver.epochs).toEqual([1])
})

test('a report after the lease has passed is neither committed nor acknowledged, and its connection ends', async () => {
  await using world = await World.open()
  const runner = await world.runner()
  await runner.until('frame')
  runner.report(world.sessionId, 1, started)
  await runner.until('ack')
  const before = await world.log()
  expect(await world.passLease()).toBe(2)
  runner.report(world.sessionId, 2, crashed)
  await runner.closed
  expect(await world.log()).toEqual(before)
  expect(runner.heard.filter(({ type }) => type === 'ack')).toHaveLength(1)
  expect(world.driver.destroyed).toEqual([])
})

test('a connection over which nothing comes ends, too, and nobody listens any more', async () => {
  await using world = await World.open()
  const runner = await world.runner()
  await runner.until('welcome')
  await world.passLease()
  await runner.closed
  const [ref] = world.driver.refs.values()
  await expect.poll(() => existsSync(linkOf(ref?.runDir ?? ''))).toBe(false)
  expect(ref?.state).toBe('running')
}, 15_000)

test('a runner that has met a later lease is told so, and its sandbox stays', async () => {
  await using world = await World.open()
  const runner = await world.runner(7)
  expect(await runner.closed).toBe(linkClose.stale_epoch)
  expect(runner.heard).toEqual([])
  expect(world.driver.destroyed).toEqual([])
})

test('no write of the store is done under an epoch that has passed', async () => {
  await using world = await World.open()
  const { store, sessionId } = world
  const [ref] = world.driver.refs.values()
  const sandboxId = ref?.id ?? ''
  const row = await store.findSession({ sessionId })
  const known = await store.findSandbox({ sandboxId })
  await world.passLease()
  const stale = { sessionId, epoch: 1, sandboxId, now: new Date().toISOString() }
  const writes = [
    store.assignSandbox({ ...stale, driver: 'd', nonce: 'n' }),
    store.restartSandbox({ ...stale, nonce: 'n' }),
    store.takeBackInputs(stale),
    store.removeSandbox(stale),
    store.removeSandbox({ sandboxId, epoch: undefined }),
    store.loseSandbox({ ...stale, why: 'w', files: 'gone', isCounted: false }),
    store.limitTurn({ ...stale, limit: 'turn_seconds' }),
    store.commitReports({ ...stale, nonce: known?.nonce ?? '', frames: [], acked: 0, previews: {}, usage: null }),
  ]
  for (const outcome of await Promise.allSettled(writes)) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'conflict' } })
  }
  expect(await store.findSandbox({ sandboxId })).toEqual(known)
  expect((await store.findSession({ sessionId }))?.sandbox_id).toBe(row?.sandbox_id)
})

test('sessions that share a sandbox share its link and its lease: they lose it, and have it again, together', async () => {
  await using world = await World.open()
  const { store, engine, driver } = world
  const environment_id = newId('env')
  const config = { type: 'cloud', berth: { lifecycle: { type: 'long_running' } } }
  const environment = newEnvironment(createEnvironmentBody.parse({ name: 'e', config }))
  await store.createEnvironment({ workspaceId, id: environment_id, body: environment, now: new Date().toISOString() })
  const body = { agent: world.agent, environment_id, berth: { sandbox: 'a' }, initial_events: said('Hello') }
  const [one, two] = [
    await engine.createSession({ workspaceId, body }),
    await engine.createSession({ workspaceId, body }),
  ]
  const ref = await vi.waitFor(() => {
    const made = [...driver.refs.values()].find(({ labels }) => [one.id, two.id].includes(labels['session'] ?? ''))
    if (made === undefined) throw new Error('no sandbox yet')
    return made
  })
  const { nonce = '' } = (await store.findSandbox({ sandboxId: ref.id })) ?? {}
  const runner = await FakeRunner.dial(ref, { nonce, epoch: 0, sessions: [] })
  const told = (from: FakeRunner) =>
    new Set(from.heard.flatMap((message) => (message.type === 'frame' ? [message.session_id] : [])))
  await vi.waitFor(() => expect(told(runner)).toEqual(new Set([one.id, two.id])))
  expect(driver.refs.size).toBe(2)

  const before = await world.log(two.id)
  expect(await world.passLease(one.group_id)).toBe(2)
  // Neither of the two notices before one of them is refused.
  runner.report(two.id, 1, started)
  await runner.closed
  expect(await world.log(two.id)).toEqual(before)
  await store.releaseLeases({ holder: 'server-1' })
  const again = await FakeRunner.dial(ref, { nonce, epoch: 1, sessions: [] })
  const { epoch, sessions } = await again.until('welcome')
  expect(epoch).toBe(3)
  expect(sessions.map(({ session_id }) => session_id).toSorted()).toEqual([one.id, two.id].toSorted())
  again.report(one.id, 1, started)
  await again.until('ack')
})

test('a server that has the lease again takes the sandbox up as it is, in the middle of a turn', async () => {
  await using world = await World.open()
  const runner = await world.runner()
  await runner.until('frame')
  expect(await world.passLease()).toBe(2)
  runner.report(world.sessionId, 1, started)
  await runner.closed
  await world.store.releaseLeases({ holder: 'server-1' })
  const again = await world.runner(1)
  expect((await again.until('welcome')).epoch).toBe(3)
  expect(world.driver.epochs).toEqual([1])
})
