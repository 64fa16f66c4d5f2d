import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect, it } from 'vitest'
import { endSession } from '../harness/end-session.ts'
import { startTestBerth } from '../harness/test-berth.ts'
import { exampleProject } from './example-project.ts'
import { blocksOf, readPage } from './page.ts'

const examples = blocksOf(readPage('README.md'), 'ts')

it('the example of README.md has ten lines', () => {
  expect(examples.map((example) => example.trimEnd().split('\n').length)).toEqual([10])
})

it('the example of README.md runs as it stands', async () => {
  await using berth = await startTestBerth()
  await using dir = await exampleProject(examples[0] ?? '')
  const env = { PATH: process.env.PATH, BERTH_URL: berth.server.url, BERTH_API_KEY: berth.server.apiKey }
  const child = spawn(process.execPath, ['example.ts'], { cwd: dir.path, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  for await (const { id } of berth.client.beta.sessions.list()) await endSession(berth.client, id)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(out).toContain('Which Linux is this?')
})
