import { warmPool } from '@berth/protocol/api/warm-pool'
import { expect, it } from 'vitest'
import { startTestBerth } from '../harness/test-berth.ts'
import { blocksOf, codeIn, readPage, rowsOf } from './page.ts'
import { runExample } from './run-example.ts'

const page = readPage('docs/guide/warm-pools.md')

it('the guide to warm pools has every field', () => {
  expect(rowsOf(page).map(([name = '']) => codeIn(name))).toEqual(Object.keys(warmPool.shape))
})

it('its example runs as it stands, and leaves nothing', async () => {
  await using berth = await startTestBerth()
  const lines = await runExample(berth, blocksOf(page, 'ts')[0] ?? '', ['Knock\n::text Come in.'])
  expect(lines).toEqual([
    expect.stringMatching(/^first after \d+ ms: Come in\.$/),
    expect.stringMatching(/^second after \d+ ms: Come in\.$/),
  ])
  await berth.assertClean()
}, 120_000)
