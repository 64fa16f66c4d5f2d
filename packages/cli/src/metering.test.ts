import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { listPrices } from '@berth/protocol/prices'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { costsOf, meteringEnv, meteringOf } from './metering.ts'

let dir: string
let path: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bt-prices-'))
  path = join(dir, 'prices.json')
})
afterEach(() => rm(dir, { recursive: true }))

const settings = (prices?: string) => ({ prices, workspaceDailyLimit: '2.5', sandboxHourUsd: 0.05 })

test('server and gateway are told the same', async () => {
  const mine = { input: 1, output: 2, cache_write_5m: 1, cache_write_1h: 1, cache_read: 0 }
  await writeFile(path, JSON.stringify({ models: { mine } }))
  const metering = meteringOf(settings(path))
  expect(costsOf(metering)).toMatchObject({ workspaceDailyLimit: 2_500_000_000, sandboxHourUsd: 0.05 })
  expect(costsOf(metering).prices.models).toEqual({ ...listPrices.models, mine })
  expect(meteringEnv(metering)).toEqual({
    BERTH_PRICE_TABLE: JSON.stringify({ models: { mine } }),
    BERTH_WORKSPACE_DAILY_LIMIT: '2.5',
  })
  expect(meteringEnv({ ...meteringOf(settings()), workspaceDailyLimit: undefined })).toEqual({})
})

test.each([
  ['{', /BERTH_PRICES \(.*prices\.json\): /],
  ['{"models":{"m":{"input":"1"}}}', /BERTH_PRICES \(.*prices\.json\): models\.m\.input: /],
  ['{"running_hour":1}', /BERTH_PRICES \(.*prices\.json\): .*running_hour/],
])('a file with %s is refused by name', async (text, message) => {
  await writeFile(path, text)
  expect(() => meteringOf(settings(path))).toThrow(message)
})

test('a file that is not there, too', () => {
  expect(() => meteringOf(settings(path))).toThrow(/BERTH_PRICES .*ENOENT/)
})
