import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { TestBerth } from '../harness/test-berth.ts'
import { endSession } from '../harness/end-session.ts'
import { exampleProject } from './example-project.ts'

const run = promisify(execFile)

/** Runs an example of a page against the Berth, as its reader would. Answers what it printed; all sessions end with it. */
export async function runExample(berth: TestBerth, example: string, args: readonly string[]): Promise<string[]> {
  await using dir = await exampleProject(example)
  const env = { PATH: process.env.PATH, BERTH_URL: berth.server.url, BERTH_API_KEY: berth.server.apiKey }
  try {
    const { stdout } = await run(process.execPath, ['example.ts', ...args], { cwd: dir.path, env })
    return stdout.trimEnd().split('\n')
  } finally {
    for await (const { id } of berth.client.beta.sessions.list()) await endSession(berth.client, id)
  }
}
