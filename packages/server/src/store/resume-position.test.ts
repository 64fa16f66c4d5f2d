import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { makePlaces } from '../../test/session-places.ts'
import { SessionWorld } from '../../test/session-world.ts'
import { openSqliteStore } from './sqlite/open.ts'

test('who resumes behind an event gets what came after it, and not the event again', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'bp-'))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rm(dir, { recursive: true }))
  const store = cleanup.use(await openSqliteStore(join(dir, 'berth.db')))
  const raw = new DatabaseSync(join(dir, 'berth.db'), { readOnly: true })
  cleanup.defer(() => raw.close())
  const world = await SessionWorld.create({ store, raw }, await makePlaces(store), 'continue')
  await world.send([{ type: 'user.message', content: [{ type: 'text', text: 'Hello' }] }])
  await world.deliver()
  await world.send([{ type: 'user.interrupt' }])
  await world.settle()
  const sessionId = world.id
  const all = (await store.listEventsAfter({ sessionId, after: 0, limit: 100 })).map(({ event }) => event)
  expect(all.map(({ type }) => type)).toContain('user.interrupt')
  for (const [n, { id, type }] of all.entries()) {
    if (type === 'user.message') continue
    const after = (await store.findPosition({ sessionId, eventId: id })) ?? 0
    const rest = await store.listEventsAfter({ sessionId, after, limit: 100 })
    expect(rest.map(({ event }) => event)).toEqual(all.slice(n + 1))
  }
  expect(await store.findPosition({ sessionId, eventId: 'sevt_never' })).toBeUndefined()
})
