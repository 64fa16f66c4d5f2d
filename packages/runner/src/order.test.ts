/** What a report says has happened, the transcript that was reported before it knows. */
import { expect, test } from 'vitest'
import { bundleForTests } from './testing/bundle.ts'
import { TestSandbox } from './testing/sandbox.ts'

const bundle = bundleForTests()
const CALLS = 6

test.each([
  ['one after the other', Array.from({ length: CALLS }, (_, n) => [call(n), '::next'])],
  ['of one message', [...Array.from({ length: CALLS }, (_, n) => [call(n)]), ['::next']]],
])('the result of a call is reported behind the lines of the transcript that have it: %s', async (_, script) => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.say(...script.flat(), '::text done')
  const began = performance.now()
  await session.idle()
  // A line that never comes is waited for this long: none was.
  expect(performance.now() - began).toBeLessThan(CALLS * 5_000)
  const results = session.reports.flatMap((report, at) => {
    if (report.type !== 'message' || report.message['type'] !== 'user') return []
    const id = /"tool_use_id":"([^"]+)"/.exec(JSON.stringify(report.message))?.[1]
    return id === undefined ? [] : [{ id, at }]
  })
  expect(results).toHaveLength(CALLS)
  for (const { id, at } of results) {
    const shipped = session.reports.slice(0, at).map((report) => (report.type === 'transcript' ? report.text : ''))
    expect(shipped.join('')).toContain(`"tool_use_id":"${id}"`)
  }
})

function call(n: number): string {
  return `::tool Bash {"command":"sleep 0.1; echo call-${n}"}`
}
