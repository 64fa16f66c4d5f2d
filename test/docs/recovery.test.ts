import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { continuationText, type Lost } from '@berth/server/domain/turn/recovery'
import { limits } from '@berth/protocol/api/limits'
import { expect, it } from 'vitest'
import { tool } from '../harness/message.ts'
import { endSession } from '../harness/end-session.ts'
import { startKillableBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'
import { exampleProject } from './example-project.ts'
import { blocksOf, codeIn, readPage, rowsOf, sectionOf } from './page.ts'

const page = readPage('docs/guide/recovery.md')

it('the guide to recovery quotes what the agent is told', () => {
  const of = (lost: Lost) => ({ lost, filesAsOf: null })
  const [ofProcess, ofProcesses = '', ofSandbox = ''] = blocksOf(page, 'text')
  expect(ofProcess?.trimEnd()).toBe(
    continuationText([{ name: 'Bash', input: { command: './deploy.sh' } }], of('process')),
  )
  expect(continuationText([], of('sandbox_processes'))).toContain(ofProcesses.trimEnd())
  expect(continuationText([], of('sandbox'))).toContain(ofSandbox.trimEnd())
})

it('the guide to recovery has every limit of a turn', () => {
  const named = rowsOf(sectionOf(page, '## Limits of a turn')).map(([name = '']) => codeIn(name))
  expect(named).toEqual(Object.keys(limits.shape))
})

it('its example runs as it stands, and comes to its end when the server is killed meanwhile', async () => {
  await using berth = await startKillableBerth()
  await using dir = await exampleProject(blocksOf(page, 'ts')[0] ?? '')
  const env = { PATH: process.env.PATH, BERTH_URL: berth.server.url, BERTH_API_KEY: berth.server.apiKey }
  const task = ['Work', tool('Bash', { command: 'sleep 3; echo worked' }), '::next', '::text {{result}}'].join('\n')
  const child = spawn(process.execPath, ['example.ts', task], { cwd: dir.path, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close')
  let [out, err] = ['', '']
  child.stdout.on('data', (data: Buffer) => (out += data.toString()))
  child.stderr.on('data', (data: Buffer) => (err += data.toString()))
  await waitUntil('the tool is called', () => Promise.resolve(out.includes('agent.tool_use')))
  await berth.server.restart()
  expect([await closed, err]).toEqual([[0, null], ''])
  const lines = out.trimEnd().split('\n')
  const types = lines.map((line) => line.split(' ')[1])
  expect(new Set(lines).size).toBe(lines.length)
  expect(types.filter((type) => type === 'user.message')).toHaveLength(1)
  expect(types.filter((type) => type === 'agent.tool_result')).toHaveLength(1)
  expect(types.filter((type) => type === 'agent.message')).toHaveLength(1)
  expect(types.slice(-3)).toEqual(['session.thread_status_idle', 'session.usage', 'session.status_idle'])
  for await (const { id } of berth.client.beta.sessions.list()) await endSession(berth.client, id)
})
