import { expect, it } from 'vitest'
import { tool } from '../harness/message.ts'
import { startTestBerth } from '../harness/test-berth.ts'
import { blocksOf, readPage } from './page.ts'
import { runExample } from './run-example.ts'

const page = readPage('docs/guide/forks.md')

it('the example of the guide to forks runs as it stands: two ways from one place', async () => {
  await using berth = await startTestBerth()
  const turn = (prompt: string, command: string) =>
    [prompt, tool('Bash', { command }), '::next', '::text {{prompt:1}}, {{turns}}: {{result}}'].join('\n')
  const lines = await runExample(berth, blocksOf(page, 'ts')[0] ?? '', [
    turn('Begin', 'echo base > file; cat file'),
    turn('Left', 'echo left >> file; cat file'),
    turn('Right', 'echo right >> file; cat file'),
  ])
  expect(lines).toEqual(['Begin, 1: base', 'Begin, 2: base', 'left', 'Begin, 2: base', 'right'])
  await berth.assertClean()
})
