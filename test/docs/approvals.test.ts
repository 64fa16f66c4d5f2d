import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { continuationText } from '@berth/server/domain/turn/recovery'
import { expect, it } from 'vitest'
import { endSession } from '../harness/end-session.ts'
import { bash } from '../harness/message.ts'
import { startTestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'
import { exampleProject } from './example-project.ts'
import { blocksOf, readPage } from './page.ts'

const page = readPage('docs/guide/approvals.md')

it('the guide to approvals quotes what the agent is told', () => {
  const [told = ''] = blocksOf(page, 'text')
  expect(continuationText([], { lost: 'put_away', filesAsOf: null })).toContain(told.trimEnd())
})

it('its example runs as it stands, and its answers find the session without a sandbox', async () => {
  await using berth = await startTestBerth()
  await using dir = await exampleProject(blocksOf(page, 'ts')[0] ?? '')
  const task = ['Work', bash('echo yes'), bash('echo no'), '::next', '::text {{result:1}}'].join('\n')
  const env = { PATH: process.env.PATH, BERTH_URL: berth.server.url, BERTH_API_KEY: berth.server.apiKey }
  const child = spawn(process.execPath, ['example.ts', task], { cwd: dir.path, env })
  const closed = once(child, 'close')
  let [out, err] = ['', '']
  child.stdout.on('data', (data: Buffer) => (out += data.toString()))
  child.stderr.on('data', (data: Buffer) => (err += data.toString()))
  for (const [call, answer] of [
    ['echo yes', 'y\n'],
    ['echo no', 'n\n'],
  ] as const) {
    await waitUntil(`${call} is asked for`, () => out.includes(`${call}"}? (y/n)`))
    await berth.untilPutAway()
    child.stdin.write(answer)
  }
  expect([await closed, err]).toEqual([[0, null], ''])
  expect(out.trimEnd().split('\n').at(-1)).toBe('yes')
  for await (const { id } of berth.client.beta.sessions.list()) await endSession(berth.client, id)
  await berth.assertClean()
})
