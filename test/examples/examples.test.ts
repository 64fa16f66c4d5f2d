/** The examples do their job, with the scripted model in a model's place. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import { askPort } from '../harness/port-client.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

const run = promisify(execFile)
const examples = join(import.meta.dirname, '../../examples')

/** As its user would; answers what it printed. */
async function runExample(berth: TestBerth, name: string): Promise<string[]> {
  const env = { PATH: process.env.PATH, BERTH_URL: berth.server.url, BERTH_API_KEY: berth.server.apiKey, SCRIPTED: '1' }
  const { stdout } = await run(process.execPath, [join(examples, name)], { env })
  for await (const { id } of berth.client.beta.sessions.list()) berth.adopt(id)
  return stdout.trimEnd().split('\n')
}

story('the bug fixer fixes the bug, and its report outlives its sandbox', async ({ berth }) => {
  const lines = await runExample(berth, 'bug-fixer.ts')
  expect(lines).toContain('Fixed. The test says: ok')
  expect(lines.at(-1)).toBe('average.sh counted each number twice.')
})

story('the research assistant has its notes after it was put away', async ({ berth }) => {
  const lines = await runExample(berth, 'research-assistant.ts')
  expect(lines.filter((line) => line === '(put away)')).toHaveLength(2)
  expect(lines).toContain('By 167 million tonnes. My notes say: Rotterdam 438, Antwerp 271 million tonnes (2023).')
  expect(lines).toContain('difference: 167')
})

story('the site builder’s page is live, and changes while it is served from the same sandbox', async ({ berth }) => {
  const before = berth.traces.sandboxIds.length
  const lines = await runExample(berth, 'site-builder.ts')
  const url = /http:\S+$/m.exec(lines.join('\n'))?.[0] ?? ''
  expect(new URL(url).hostname).toMatch(/^8000--sesn-\w+\.localhost$/)
  const rest = '<p>High water comes twice a day.</p>'
  const first = ['Serving.', expect.stringContaining(url), '<h1>TIDES!!!</h1>', rest]
  expect(lines).toEqual([...first, 'It is calm now.', '<h1>Tides</h1>', rest])
  expect(berth.traces.sandboxIds).toHaveLength(before + 1)
  // The example has ended, and the page is still there.
  expect(await askPort(url)).toMatchObject({ status: 200, body: `<h1>Tides</h1>\n${rest}\n` })
})
