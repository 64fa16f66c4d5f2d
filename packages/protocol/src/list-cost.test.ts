import { expect, test } from 'vitest'
import {
  fromCents,
  fromUsd,
  highestCostOf,
  hourlyCostOf,
  listCostOf,
  noTokens,
  runningCostOf,
  toCents,
  toUsd,
  type TokenCounts,
} from './list-cost.ts'
import { layPrices, listPrices, ownPrices, pricesOf } from './prices.ts'

function cost(model: string, used: Partial<TokenCounts>): string {
  const prices = pricesOf(listPrices, model)
  if (prices === undefined) throw new Error(`${model} has no price`)
  return toUsd(listCostOf(listPrices, prices, { ...noTokens, ...used }))
}

test.each([
  ['claude-opus-5-5', { input_tokens: 1_000_000 }, '4'],
  ['claude-opus-5-5', { output_tokens: 1_000_000 }, '20'],
  ['claude-opus-5-5', { cache_read_input_tokens: 1_000_000 }, '0.2'],
  ['claude-opus-5-5', { cache_creation_5m_input_tokens: 1_000_000 }, '5'],
  ['claude-opus-5-5', { cache_creation_1h_input_tokens: 1_000_000 }, '8'],
  ['claude-sonnet-5-5', { input_tokens: 1, output_tokens: 1, cache_read_input_tokens: 1 }, '0.0000121'],
  ['claude-haiku-4-5', { web_search_requests: 3 }, '0.03'],
  ['claude-opus-4-1', { output_tokens: 1 }, '0.000075'],
])('%s with %j costs $%s', (model, used, usd) => {
  expect(cost(model, used)).toBe(usd)
})

test('a long prompt makes every token of its request dearer, caches counted', () => {
  const output_tokens = 1000
  expect(cost('claude-haiku-5-5', { input_tokens: 100_000, output_tokens })).toBe('0.0105')
  expect(cost('claude-haiku-5-5', { input_tokens: 1, cache_read_input_tokens: 100_000, output_tokens })).toBe(
    '0.0075005',
  )
})

test('names of a model are one model, and another name is none', () => {
  const opus = pricesOf(listPrices, 'claude-opus-4-5')
  for (const name of [
    'claude-opus-4-5-20251101',
    'claude-opus-4-5[1m]',
    'us.anthropic.claude-opus-4-5-20251101-v1:0',
    'claude-opus-4-5@20251101',
  ]) {
    expect(pricesOf(listPrices, name)).toBe(opus)
  }
  for (const name of ['claude-opus-9', 'opus', 'gpt', 'constructor', '__proto__', '']) {
    expect(pricesOf(listPrices, name)).toBeUndefined()
  }
})

test('what an operator gives stands in place of the list, and the running hour is the profile’s', () => {
  const mine = { input: 0.001, output: 1, cache_write_5m: 1, cache_write_1h: 1, cache_read: 0 }
  const table = layPrices(listPrices, ownPrices.parse({ models: { mine, 'claude-opus-5-5': mine } }))
  expect(pricesOf(table, 'mine')).toEqual(mine)
  expect(pricesOf(table, 'claude-opus-5-5')).toEqual(mine)
  expect(pricesOf(table, 'claude-sonnet-5-5')).toEqual(pricesOf(listPrices, 'claude-sonnet-5-5'))
  const wrong = [
    { models: { m: { ...mine, input: -1 } } },
    { models: { m: { input: 1 } } },
    { running_hour: 1 },
    { models: { m: { ...mine, input: 0.0001 } } },
  ]
  for (const given of wrong) expect(ownPrices.safeParse(given).success).toBe(false)
})

test('every price of the list is a whole number of nano-dollars a token', () => {
  for (const [model, { long_prompt, ...prices }] of Object.entries(listPrices.models)) {
    for (const usd of [...Object.values(prices), ...Object.values({ ...long_prompt, above_prompt_tokens: 0 })]) {
      expect(Math.abs(usd * 1000 - Math.round(usd * 1000)), model).toBeLessThan(1e-9)
    }
  }
})

test('the highest cost of a request is no less than any that it can have', () => {
  const opus = pricesOf(listPrices, 'claude-opus-5-5')
  const haiku = pricesOf(listPrices, 'claude-haiku-5-5')
  if (opus === undefined || haiku === undefined) throw new Error('no price')
  expect(highestCostOf(opus, { promptTokens: 1000, maxTokens: 100 })).toBe(1000 * 8000 + 100 * 20_000)
  expect(highestCostOf(haiku, { promptTokens: 1000, maxTokens: 100 })).toBe(1000 * 1000 + 100 * 2500)
})

test('time, cents and dollars', () => {
  expect(toUsd(runningCostOf(listPrices, 3_600_000))).toBe('0.08')
  expect(toUsd(hourlyCostOf(0.05, 1))).toBe('0.000000014')
  expect([0, 4_999_999, 5_000_000, 14_999_999, 15_000_000].map(toCents)).toEqual(['0', '0', '1', '1', '2'])
  expect(toUsd(fromCents('2500'))).toBe('25')
  expect([0, 1, 1_000_000_000, 1_500_000_000].map(toUsd)).toEqual(['0', '0.000000001', '1', '1.5'])
  expect(['25', '0.5', '0.000000001'].map(fromUsd)).toEqual([25_000_000_000, 500_000_000, 1])
})
