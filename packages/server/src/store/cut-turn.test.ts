/** What happens to a turn that is cut when it was interrupted before, or had said something of which nobody was told. */
import type { Report } from '@berth/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openStored, type StoredPlaces } from '../../test/open-stored.ts'
import { type Policy } from '../../test/session-places.ts'
import { SessionWorld } from '../../test/session-world.ts'

const hello = { type: 'user.message' as const, content: [{ type: 'text' as const, text: 'Hello' }] }
const crash = { type: 'exited' as const, reason: 'crashed' as const, exit_code: 1, signal: null, detail: '' }
const cuts: [string, (world: SessionWorld) => Promise<void>][] = [
  ['its process', (world) => world.report([crash])],
  ['its sandbox', (world) => world.lose()],
]

let stored: StoredPlaces
beforeAll(async () => void (stored = await openStored()))
afterAll(() => stored[Symbol.asyncDispose]())

/** A session whose agent has taken an input, or has only just begun. */
async function newWorld(policy: Policy = 'continue', takes: 'input' | 'nothing' = 'input'): Promise<SessionWorld> {
  const world = await SessionWorld.create(stored, stored.places, policy)
  await world.send([hello])
  await world.deliver()
  // Before its first line the CLI writes others.
  await world.shipLine({ type: 'queue-operation' })
  if (takes === 'input') await world.takeInput()
  return world
}

test.each(cuts)('a first turn that is run again when %s is lost begins a conversation', async (_, cut) => {
  const world = await newWorld('rerun')
  const before = await world.row()
  expect(before.has_transcript).toBe(1)
  await cut(world)
  await world.deliver()
  const after = await world.row()
  expect(after.has_transcript).toBe(0)
  expect(after.sdk_session_id).not.toBe(before.sdk_session_id)
  await world.takeInput()
  await world.settle()
  await world.send([hello])
  await cut(world)
  await world.settle()
  const last = await world.row()
  expect([last.has_transcript, last.sdk_session_id]).toEqual([1, after.sdk_session_id])
})

test.each(cuts)('what a CLI left that never took its input is not resumed when %s is lost', async (_, cut) => {
  const world = await newWorld('rerun', 'nothing')
  const before = await world.row()
  await cut(world)
  await world.deliver()
  const after = await world.row()
  expect([before.has_transcript, after.has_transcript]).toEqual([0, 0])
  expect(after.sdk_session_id).not.toBe(before.sdk_session_id)
})

test.each(cuts)('a turn that was interrupted ends when %s is lost, and the next message goes on', async (_, cut) => {
  const world = await newWorld()
  await world.send([{ type: 'user.interrupt' }])
  await cut(world)
  const row = await world.row()
  expect([row.status, row.stop_reason]).toEqual(['idle', JSON.stringify({ type: 'end_turn' })])
  await world.deliver()
  expect(world.handed).toHaveLength(1)
  await world.send([hello])
  await world.settle()
  expect(world.handed).toHaveLength(2)
})

test.each(cuts)('a turn that a limit has ended ends when %s is lost before it could', async (_, cut) => {
  const world = await newWorld()
  await world.limit()
  await cut(world)
  const row = await world.row()
  expect([row.status, row.stop_reason]).toEqual(['idle', JSON.stringify({ type: 'retries_exhausted' })])
  const errors = world.published.flatMap((event) => (event.type === 'session.error' ? [event.error.message] : []))
  expect(errors.filter((message) => message.includes('turn_seconds'))).toHaveLength(1)
  await world.deliver()
  expect(world.handed).toHaveLength(1)
})

test.each(cuts)('an answer that the agent remembers is told when %s is lost, and no other', async (_, cut) => {
  const world = await newWorld()
  const answer = { role: 'assistant', id: 'msg', model: 'm', content: [{ type: 'text', text: 'Remembered.' }] }
  const request: Report = {
    type: 'model_request',
    phase: 'start',
    message_id: 'msg',
    model: 'm',
    usage: null,
    stop_reason: null,
  }
  const told = (): string[] =>
    world.published.flatMap((event) => (event.type === 'agent.message' ? [JSON.stringify(event.content)] : []))
  const said: Report = { type: 'message', message: { type: 'assistant', message: answer } }
  await world.report([request, said])
  await cut(world)
  expect(told()).toEqual([])
  await world.deliver()
  await world.takeInput()
  await world.report([request, said])
  await world.shipLine({ type: 'assistant', message: answer })
  await cut(world)
  expect(told()).toEqual([JSON.stringify([{ type: 'text', text: 'Remembered.' }])])
})
