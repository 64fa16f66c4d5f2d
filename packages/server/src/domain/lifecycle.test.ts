import { describe, expect, test } from 'vitest'
import { acceptLifecycle, defaultLifecycle, defaultLifecycles, holdMs, nextRestStep } from './lifecycle.ts'

const accept = (params: Parameters<typeof acceptLifecycle>[0], current = defaultLifecycle) =>
  acceptLifecycle(params, current, 'lifecycle')

describe('what is left out', () => {
  test('stays as it is, and null is the default', () => {
    const own = accept({ idle_timeout: 7, checkpoint_after: 2 })
    expect(own).toEqual({ ...defaultLifecycle, idle_timeout: 7, checkpoint_after: 2 })
    expect(accept({ approval_hold: 9 }, own)).toEqual({ ...own, approval_hold: 9 })
    expect(accept({ idle_timeout: null }, own)).toEqual({ ...own, idle_timeout: defaultLifecycle.idle_timeout })
  })

  test('becomes the default of another type', () => {
    const own = accept({ idle_timeout: 7 })
    expect(accept({ type: 'long_running' }, own)).toEqual(defaultLifecycles.long_running)
    expect(accept({ type: 'ephemeral' }, own)).toEqual(defaultLifecycles.ephemeral)
  })
})

describe('the next step of a session that rests', () => {
  const { ephemeral, long_running: longRunning, hybrid } = defaultLifecycles
  const step = (
    lifecycle: typeof hybrid,
    isChanged: boolean,
    stopReason: 'end_turn' | 'retries_exhausted' = 'end_turn',
  ) => nextRestStep({ lifecycle, stopReason, isChanged })

  test('hybrid: a checkpoint, then the release', () => {
    expect(step(hybrid, true)).toEqual({ step: 'checkpoint', afterMs: 5_000 })
    expect(step(hybrid, false)).toEqual({ step: 'release', afterMs: 300_000 })
    expect(step({ ...hybrid, idle_timeout: 5 }, true)).toEqual({ step: 'release', afterMs: 5_000 })
  })

  test('ephemeral: the release, at once', () => {
    expect(step(ephemeral, true)).toEqual({ step: 'release', afterMs: 0 })
  })

  test('long_running: a checkpoint, and no more', () => {
    expect(step(longRunning, true, 'retries_exhausted')).toEqual({ step: 'checkpoint', afterMs: 5_000 })
    expect(step(longRunning, false)).toBeUndefined()
  })

  test('one that waits for an answer: the release, when it has waited long enough', () => {
    const waiting = { stopReason: 'requires_action', isChanged: true } as const
    expect(nextRestStep({ lifecycle: hybrid, ...waiting })).toEqual({ step: 'release', afterMs: 60_000 })
    expect(nextRestStep({ lifecycle: longRunning, ...waiting })).toBeUndefined()
  })

  test('one that has reached its budget: a checkpoint between, and the release as if it waited for an answer', () => {
    const resting = { stopReason: 'budget_reached' } as const
    const checkpoint = { step: 'checkpoint', afterMs: 5_000 }
    const release = { step: 'release', afterMs: 60_000 }
    expect(nextRestStep({ lifecycle: hybrid, ...resting, isChanged: true })).toEqual(checkpoint)
    expect(nextRestStep({ lifecycle: hybrid, ...resting, isChanged: false })).toEqual(release)
    expect(nextRestStep({ lifecycle: ephemeral, ...resting, isChanged: true })).toEqual(release)
  })
})

test('processes that hold a sandbox are looked at soon, then less and less often, and hold it no longer than they may', () => {
  const { hybrid } = defaultLifecycles
  const looks = (background: typeof hybrid.background): number[] =>
    [0, 200, 1_000, 2_500, 8_000, 60_000].map((restedMs) => holdMs({ ...hybrid, background }, restedMs))
  expect(looks({ type: 'keep' })).toEqual([200, 200, 1_000, 2_500, 8_000, 15_000])
  expect(looks({ type: 'kill_after', seconds: 3 })).toEqual([200, 200, 1_000, 500, 0, 0])
  expect(looks({ type: 'kill_after', seconds: 0 })).toEqual([0, 0, 0, 0, 0, 0])
})
