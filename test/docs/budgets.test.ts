import { ownPrices } from '@berth/protocol/prices'
import { expect, it } from 'vitest'
import { tool } from '../harness/message.ts'
import { startTestBerth } from '../harness/test-berth.ts'
import { blocksOf, readPage } from './page.ts'
import { runExample } from './run-example.ts'

const page = readPage('docs/guide/budgets.md')

it('the example of the guide to budgets runs as it stands: a turn stops at its budget, and ends with more of it', async () => {
  await using berth = await startTestBerth()
  // Thirty cents a call.
  const used = '::usage {"input_tokens":100000,"output_tokens":10000}'
  const task = [
    'Count',
    used,
    tool('Bash', { command: 'true' }),
    '::next',
    used,
    tool('Bash', { command: 'true' }),
    '::next',
    used,
    '::text Counted.',
  ]
  const lines = await runExample(berth, blocksOf(page, 'ts')[0] ?? '', [task.join('\n'), '50', '500'])
  expect(lines).toEqual(['60 of 50 cents', 'budget_reached', 'Counted.', '90 of 500 cents', 'end_turn'])
  await berth.assertClean()
}, 180_000)

it('the example of a file of prices is one', () => {
  const prices = ownPrices.parse(JSON.parse(blocksOf(page, 'json')[0] ?? ''))
  expect(Object.keys(prices.models ?? {})).toEqual(['my-model'])
})
