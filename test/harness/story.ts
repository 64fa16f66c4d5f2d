/** `story('…', async ({ berth }) => …)`: a test with a Berth that all stories of its file share; each one's sessions end with it. */
import { test } from 'vitest'
import { startTestBerth } from './test-berth.ts'

const withBerth = test
  .extend('start', { scope: 'file' }, () => startTestBerth)
  .extend('shared', { scope: 'file' }, async ({ start }, { onCleanup }) => {
    const berth = await start()
    onCleanup(async () => {
      await using _berth = berth
      await berth.assertClean()
    })
    return berth
  })

export const story = withBerth.extend('berth', ({ shared, onTestFailed }, { onCleanup }) => {
  onTestFailed(() => void process.stderr.write(`what the server logged:\n${shared.server.log()}`))
  onCleanup(() => shared.endSessions())
  return shared
})
