/** Requests in flight while the server is killed, sent again under their keys. */
import { expect, test } from 'vitest'
import { startKillableBerth, type TestBerth } from '../harness/test-berth.ts'

const names = Array.from({ length: 60 }, (_, n) => `in flight ${n}`)

/** Undefined when no answer came. */
async function create(berth: TestBerth, name: string): Promise<string | undefined> {
  const body = JSON.stringify({ name, model: 'claude-sonnet-5-5' })
  const headers = { 'content-type': 'application/json', 'idempotency-key': name.replaceAll(' ', '-') }
  try {
    const answer = await berth.fetch('/v1/agents', { method: 'POST', headers, body })
    return `${answer.status} ${answer.headers.get('request-id')} ${await answer.text()}`
  } catch {
    return undefined
  }
}

test('have each had its effect once, and what was answered is answered again', async () => {
  await using berth = await startKillableBerth()
  const firstAnswers = names.map((name) => create(berth, name))
  await Promise.race(firstAnswers)
  await berth.server.kill()
  const before = await Promise.all(firstAnswers)
  await berth.server.restart()
  const after = await Promise.all(names.map((name) => create(berth, name)))
  expect(after.filter((answer) => !answer?.startsWith('200 '))).toEqual([])
  // Those that were answered before the end, again in the same bytes.
  const answered = before.flatMap((answer, n) => (answer === undefined ? [] : [n]))
  expect(answered.map((n) => after[n])).toEqual(answered.map((n) => before[n]))
  expect(answered.length).toBeGreaterThan(0)
  const made: string[] = []
  for await (const { name } of berth.client.beta.agents.list({ limit: 100 })) made.push(name)
  expect(made.sort()).toEqual(names.toSorted())
})
