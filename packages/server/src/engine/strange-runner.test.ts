/** A runner that speaks another version of the link, such as one of a sandbox that was made by another version of the server. */
import { mkdtemp, rm } from 'node:fs/promises'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LINK_PROTOCOL, linkClose } from '@berth/protocol'
import type { SandboxRef } from '@berth/sandbox'
import { pino } from 'pino'
import { expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { Directories, linkOf, listCosts, noGateway, testSealing } from '../../test/directories.ts'
import { makePlaces, workspaceId } from '../../test/session-places.ts'
import { systemClock } from '../domain/clock.ts'
import { createIds } from '../domain/ids.ts'
import { openSqliteStore } from '../store/sqlite/open.ts'
import { Archives } from '../blobs/archives.ts'
import { openFileBlobs } from '../blobs/fs/file-blobs.ts'
import { createEngine } from './create-engine.ts'

/** Says hello in its own version. Answers the code with which the server closes. */
async function sayHello({ id, runDir = '' }: SandboxRef): Promise<unknown> {
  for (;;) {
    const socket = new WebSocket(`ws+unix:${linkOf(runDir)}:/`)
    const opened = await Promise.race([
      once(socket, 'open').then(() => true),
      once(socket, 'close').then(() => false),
    ]).catch(() => false)
    if (!opened) continue
    const hello = { type: 'hello', protocol: LINK_PROTOCOL + 1, sandbox_id: id, nonce: 'of another time', epoch: 0 }
    socket.send(JSON.stringify({ ...hello, sessions: [] }))
    const [code] = await once(socket, 'close')
    return code
  }
}

test('it is told so, its sandbox ends, and the session says why and comes to rest', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'bs-'))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rm(dir, { recursive: true }))
  const store = cleanup.use(await openSqliteStore(join(dir, 'berth.db')))
  const driver = new Directories(dir)
  const places = await makePlaces(store)
  const ids = createIds(systemClock)
  const logger = pino({ level: 'silent' })
  const archives = new Archives({
    blobs: cleanup.use(await openFileBlobs(join(dir, 'blobs'))),
    index: store,
    ids,
    logger,
  })
  const given = {
    store,
    driver,
    gateway: noGateway,
    archives,
    checkpointsPerSession: 50,
    warmSandboxes: 0,
    costs: listCosts,
    sealing: testSealing,
    clock: systemClock,
    ids,
    logger,
    serverNumber: 1,
  }
  const engine = cleanup.use(await createEngine(given))
  const content = [{ type: 'text' as const, text: 'Hello' }]
  const body = {
    agent: places.agent,
    environment_id: places.environments.continue,
    initial_events: [{ type: 'user.message' as const, content }],
  }
  const { id } = await engine.createSession({ workspaceId, body })
  const met = new Set<string>()
  const codes: unknown[] = []
  await vi.waitFor(
    async () => {
      for (const ref of [...driver.refs.values()].filter((one) => !met.has(one.id))) {
        met.add(ref.id)
        codes.push(await sayHello(ref))
      }
      expect((await store.findSession({ sessionId: id }))?.status).toBe('idle')
    },
    { timeout: 30_000, interval: 20 },
  )
  expect(codes).toEqual([1, 2, 3].map(() => linkClose.protocol_mismatch))
  expect(driver.destroyed).toEqual([...met])
  const listed = await store.listEventsAfter({ sessionId: id, after: 0, limit: 1_000 })
  const told = listed.flatMap(({ event }) => (event.type === 'session.error' ? [JSON.stringify(event)] : []))
  expect(told).toHaveLength(3)
  const why = `its runner speaks version ${LINK_PROTOCOL + 1} of the link, this server version ${LINK_PROTOCOL}`
  for (const text of told) expect(text).toContain(why)
  expect((await store.findSession({ sessionId: id }))?.stop_reason).toContain('retries_exhausted')
})
