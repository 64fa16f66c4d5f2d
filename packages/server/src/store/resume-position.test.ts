import { expect, test } from 'vitest'
import { openStored } from '../../test/open-stored.ts'
import { SessionWorld } from '../../test/session-world.ts'

test('who resumes behind an event gets what came after it, and not the event again', async () => {
  await using stored = await openStored()
  const { store, places } = stored
  const world = await SessionWorld.create(stored, places, 'continue')
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
