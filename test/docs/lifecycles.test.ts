import { lifecycle } from '@berth/protocol/api/lifecycle'
import { expect, it } from 'vitest'
import { tool } from '../harness/message.ts'
import { startTestBerth } from '../harness/test-berth.ts'
import { blocksOf, codeIn, readPage, rowsOf } from './page.ts'
import { runExample } from './run-example.ts'

const page = readPage('docs/guide/lifecycles.md')

it('the guide to lifecycles has every field and every type', () => {
  const named = rowsOf(page).map(([name = '']) => codeIn(name))
  expect(named.slice(0, 3)).toEqual(lifecycle.shape.type.options)
  expect(named.slice(3)).toEqual(Object.keys(lifecycle.shape))
})

it('its example runs as it stands, and shows the files of the sandbox and of the checkpoint', async () => {
  await using berth = await startTestBerth()
  const task = ['Write', tool('Bash', { command: 'echo harbour > haiku.txt' }), '::next', '::text Written.'].join('\n')
  const lines = await runExample(berth, blocksOf(page, 'ts')[0] ?? '', [task])
  expect(lines.at(-1)).toBe('saved: haiku.txt')
  expect(new Set(lines.slice(0, -1))).toEqual(new Set(lines.length > 1 ? ['in the sandbox: haiku.txt'] : []))
  await berth.assertClean()
})

it('its example of two sessions in one sandbox runs as it stands, and what one hands over the other has', async () => {
  await using berth = await startTestBerth()
  const hand = [
    'Write',
    tool('Bash', { command: 'echo harbour > "$BERTH_OUTPUTS/haiku.txt"' }),
    '::next',
    '::text Written.',
  ]
  const take = ['Read', tool('Bash', { command: 'cat OUTPUTS/haiku.txt' }), '::next', '::text {{result}}']
  const tasks = [hand.join('\n'), take.join('\n')]
  expect(await runExample(berth, blocksOf(page, 'ts')[1] ?? '', tasks)).toEqual(['Written.', 'harbour'])
  await berth.assertClean()
})
