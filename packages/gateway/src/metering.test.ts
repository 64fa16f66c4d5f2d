import { listPrices, pricesOf } from '@berth/protocol/prices'
import { expect, test } from 'vitest'
import { costOf, readMetering } from './metering.ts'

const used = {
  input_tokens: 1,
  output_tokens: 0,
  cache_read_input_tokens: 0,
  cache_creation_5m_input_tokens: 0,
  cache_creation_1h_input_tokens: 0,
  web_search_requests: 0,
}

test('without variables: list prices and no limit', () => {
  expect(readMetering({ BERTH_PRICE_TABLE: '', BERTH_WORKSPACE_DAILY_LIMIT: '' })).toEqual({
    prices: listPrices,
    dailyLimit: undefined,
  })
})

test('an operator’s prices and limit', () => {
  const mine = { input: 1, output: 1, cache_write_5m: 1, cache_write_1h: 1, cache_read: 1 }
  const { prices, dailyLimit } = readMetering({
    BERTH_PRICE_TABLE: JSON.stringify({ models: { mine } }),
    BERTH_WORKSPACE_DAILY_LIMIT: '0.5',
  })
  expect(pricesOf(prices, 'mine')).toEqual(mine)
  expect(dailyLimit).toBe(500_000_000)
})

test.each([
  [{ BERTH_PRICE_TABLE: '{' }, /BERTH_PRICE_TABLE: /],
  [{ BERTH_PRICE_TABLE: '{"models":{"m":{"input":1}}}' }, /BERTH_PRICE_TABLE\.models\.m\.output: /],
  [{ BERTH_WORKSPACE_DAILY_LIMIT: '-1' }, /BERTH_WORKSPACE_DAILY_LIMIT: must be an amount/],
])('%j is refused by name', (env, message) => {
  expect(() => readMetering(env)).toThrow(message)
})

test('the model that answered has the price, else the one that was asked, else none', () => {
  const cost = (model_asked: string, model_served: string | null, counts = used) =>
    costOf(listPrices, { ...counts, model_asked, model_served })
  expect(cost('claude-opus-5-5', 'claude-sonnet-5-5')).toBe(2000)
  expect(cost('claude-opus-5-5', 'arn:of:something')).toBe(4000)
  expect(cost('claude-opus-5-5', null)).toBe(4000)
  expect(cost('mystery', 'mystery')).toBeNull()
  expect(cost('mystery', null, { ...used, input_tokens: 0 })).toBe(0)
})
