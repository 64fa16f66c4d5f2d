import { readdir, readFile } from 'node:fs/promises'
import { expect } from 'vitest'
import { tool } from '../harness/message.ts'
import { messagesOf, onlyOf, textOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'

const COUNT = 20
const MINUTES = 60_000

/** Proportional set size of every process with this file in its mounts or under this root, in MiB. */
async function memoryOf(lines: readonly string[]): Promise<number> {
  const pids = lines.flatMap((line) => /^process (\d+)/.exec(line)?.[1] ?? [])
  const sizes = await Promise.all(
    pids.map(async (pid) => {
      const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
      return Number(/^Pss: +(\d+) kB/m.exec(rollup)?.[1] ?? 0)
    }),
  )
  return sizes.reduce((sum, size) => sum + size, 0) / 1024
}

story(`${COUNT} sessions at once each do their own work`, { timeout: 5 * MINUTES }, async ({ berth }) => {
  const started = Date.now()
  const signal = AbortSignal.timeout(4 * MINUTES)
  const sessions = await Promise.all(Array.from({ length: COUNT }, () => berth.createSession()))
  const turns = await Promise.all(
    sessions.map(({ id }, n) =>
      berth.runTurn(
        id,
        [
          `Task ${n}`,
          tool('Write', { file_path: '/workspace/token', content: `token of ${id}` }),
          '::next',
          tool('Bash', { command: 'ls /workspace; cat token' }),
          '::next',
          '::text {{result}}',
        ],
        signal,
      ),
    ),
  )
  const seconds = (Date.now() - started) / 1000
  for (const [n, turn] of turns.entries()) {
    expect(onlyOf(turn, 'session.status_idle').stop_reason.type).toBe('end_turn')
    expect(messagesOf(turn)).toEqual([`token\ntoken of ${sessions[n]?.id}`])
    const prompt = turn.find((event) => event.type === 'user.message')
    expect(
      textOf(prompt?.type === 'user.message' ? prompt.content.filter(({ type }) => type === 'text') : []),
    ).toContain(`Task ${n}\n`)
    expect(berth.modelCalls(`Task ${n}`)).toHaveLength(3)
  }
  const memory = await memoryOf(await berth.traces.ofSandboxes())
  process.stdout.write(
    `${COUNT} sessions: ${seconds.toFixed(1)} s to the last answer, ${Math.round(memory / COUNT)} MiB (PSS) per sandbox\n`,
  )
  const ended = Date.now()
  await berth.assertClean()
  process.stdout.write(`${COUNT} sandboxes gone without a trace in ${((Date.now() - ended) / 1000).toFixed(1)} s\n`)
  expect(await readdir(berth.traces.stateDir)).not.toContainEqual(expect.stringMatching(/^sbx_/))
})
