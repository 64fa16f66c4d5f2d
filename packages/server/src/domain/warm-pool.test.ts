import { expect, test } from 'vitest'
import { newEnvironment, updatedEnvironment } from './environment.ts'
import { sandboxKind, sharesOf } from './warm-pool.ts'

test('pools share what the server may keep, one more for each in turn', () => {
  expect(sharesOf([2, 3], 10)).toEqual([2, 3])
  expect(sharesOf([5, 1, 5], 5)).toEqual([2, 1, 2])
  expect(sharesOf([5, 5], 3)).toEqual([2, 1])
  expect(sharesOf([5, 5], 0)).toEqual([0, 0])
  expect(sharesOf([], 4)).toEqual([])
})

const environment = (berth: object) => newEnvironment({ name: 'e', config: { type: 'cloud', berth } })

test('a pool is none by default, is changed field by field, and goes back to none', () => {
  const plain = environment({})
  expect(plain.config.berth.warm_pool).toEqual({ size: 0, agent: null })
  const update = (from: typeof plain, warm_pool: object | null) =>
    updatedEnvironment(from, { config: { type: 'cloud', berth: { warm_pool } } })
  const warm = update(plain, { size: 2, agent: 'agent_1' })
  expect(warm.config.berth.warm_pool).toEqual({ size: 2, agent: 'agent_1' })
  expect(update(warm, { size: 3 }).config.berth.warm_pool).toEqual({ size: 3, agent: 'agent_1' })
  expect(update(warm, { agent: null }).config.berth.warm_pool).toEqual({ size: 2, agent: null })
  expect(update(warm, null).config.berth.warm_pool).toEqual({ size: 0, agent: null })
  expect(update(warm, {})).toBe(warm)
})

test('sandboxes are alike whatever becomes of them, and unlike when one has more memory', () => {
  const kind = (berth: object) => sandboxKind(environment(berth).config)
  expect(kind({ warm_pool: { size: 3 }, lifecycle: { type: 'ephemeral' } })).toBe(kind({}))
  expect(kind({ resources: { memory_mib: 2048 } })).not.toBe(kind({}))
})
