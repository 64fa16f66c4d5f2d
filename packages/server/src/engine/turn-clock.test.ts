import { expect, test } from 'vitest'
import { TurnClock } from './turn-clock.ts'

const begun = '2026-01-01T00:00:00.000Z'
const nowMs = Date.parse(begun) + 1_000
const none = { max_turns: null, turn_seconds: null, idle_seconds: null }

test('a limit that a turn has reached holds for that turn, and not for the one behind it', async () => {
  const reached = Promise.withResolvers<void>()
  using clock = new TurnClock(reached.resolve)
  const limits = { ...none, turn_seconds: 1 }
  clock.update({ activeSince: begun, limits }, nowMs)
  await reached.promise
  clock.update({ activeSince: begun, limits }, nowMs)
  expect(clock.reached).toBe('turn_seconds')
  clock.update({ activeSince: '2026-01-01T00:00:01.000Z', limits }, nowMs)
  expect(clock.reached).toBeUndefined()
})

test('a turn that is heard of before its silence has an effect goes on', async () => {
  const reached = Promise.withResolvers<void>()
  using clock = new TurnClock(reached.resolve)
  clock.update({ activeSince: begun, limits: { ...none, idle_seconds: 0.001 } }, nowMs)
  await reached.promise
  expect(clock.reached).toBe('idle_seconds')
  clock.update({ activeSince: begun, limits: { ...none, idle_seconds: 60 } }, nowMs)
  expect(clock.reached).toBeUndefined()
})

test('what has had its effect is over', async () => {
  const reached = Promise.withResolvers<void>()
  using clock = new TurnClock(reached.resolve)
  clock.update({ activeSince: begun, limits: { ...none, turn_seconds: 1 } }, nowMs)
  await reached.promise
  clock.settle()
  expect(clock.reached).toBeUndefined()
})
