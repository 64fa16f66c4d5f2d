import { portUrlBody } from '@berth/protocol/api/port'
import { errorCodes } from '@berth/protocol'
import { expect, it } from 'vitest'
import { tool } from '../harness/message.ts'
import { startTestBerth } from '../harness/test-berth.ts'
import { blocksOf, codeIn, readPage, rowsOf, sectionOf } from './page.ts'
import { runExample } from './run-example.ts'

const page = readPage('docs/guide/ports.md')

it('the guide to ports has every field, and statuses of ours alone', () => {
  const fields = rowsOf(sectionOf(page, '## Who may reach one')).map(([name = '', fallback = '']) => [
    codeIn(name),
    codeIn(fallback),
  ])
  const defaults = Object.entries(portUrlBody.parse({})).map(([name, value]) => [name, String(value)])
  expect(fields).toEqual(defaults)
  const known = new Set(Object.values(errorCodes).map(({ status }) => String(status)))
  const named = rowsOf(sectionOf(page, '## What can go wrong')).map(([status = '']) => status)
  expect(named.filter((status) => !known.has(status))).toEqual([])
})

it('its example runs as it stands, and shows what the agent serves', async () => {
  await using berth = await startTestBerth()
  const program = `require('node:http').createServer((q, a) => a.end('A page for ' + q.method)).listen(8000, () => console.log('up'))`
  const serve = `nohup /opt/berth/node -e "${program}" > log 2>&1 < /dev/null & until grep -q up log; do sleep 0.1; done`
  const task = ['Serve', tool('Bash', { command: serve }), '::next', '::text Served.'].join('\n')
  const lines = await runExample(berth, blocksOf(page, 'ts')[0] ?? '', [task])
  expect(lines).toEqual(['8000--sesn-….localhost', '200 A page for GET'])
  await berth.assertClean()
})
