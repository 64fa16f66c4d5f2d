/** The examples do their job, with the scripted model in a model's place. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { endSession } from '../harness/end-session.ts'
import { startTestBerth, type TestBerth } from '../harness/test-berth.ts'

const run = promisify(execFile)
const examples = join(import.meta.dirname, '../../examples')

async function runExample(berth: TestBerth, name: string): Promise<string[]> {
  const env = { PATH: process.env.PATH, BERTH_URL: berth.server.url, BERTH_API_KEY: berth.server.apiKey, SCRIPTED: '1' }
  const { stdout } = await run(process.execPath, [join(examples, name)], { env })
  for await (const { id } of berth.client.beta.sessions.list()) await endSession(berth.client, id)
  await berth.assertClean()
  return stdout.trimEnd().split('\n')
}

test('the bug fixer fixes the bug, and its report outlives its sandbox', async () => {
  await using berth = await startTestBerth()
  const lines = await runExample(berth, 'bug-fixer.ts')
  expect(lines).toContain('Fixed. The test says: ok')
  expect(lines.at(-1)).toBe('average.sh counted each number twice.')
})

test('the research assistant has its notes after it was put away', async () => {
  await using berth = await startTestBerth()
  const lines = await runExample(berth, 'research-assistant.ts')
  expect(lines.filter((line) => line === '(put away)')).toHaveLength(2)
  expect(lines).toContain('By 167 million tonnes. My notes say: Rotterdam 438, Antwerp 271 million tonnes (2023).')
  expect(lines).toContain('difference: 167')
})
