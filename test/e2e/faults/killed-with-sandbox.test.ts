import { expect, test } from 'vitest'
import { tool } from '../../harness/message.ts'
import { messagesOf } from '../../harness/reading.ts'
import { SessionSandbox } from '../../harness/session-sandbox.ts'
import { startKillableBerth } from '../../harness/test-berth.ts'
import { untilCallShipped } from '../../harness/shipped.ts'
import { waitUntil } from '../../harness/wait-until.ts'

test('a sandbox that dies while no server is there: the next server starts at once, and the turn goes on', async () => {
  await using berth = await startKillableBerth()
  const { id } = await berth.createSession()
  await berth.runTurn(id, ['First', tool('Bash', { command: 'touch first' }), '::next', '::text First.'])
  await berth.send(id, [
    'Second',
    tool('Bash', { command: 'touch begun; while [ -e first ]; do sleep 0.1; done # kept-running' }),
    '::next',
    '::text {{prompt:1}}',
  ])
  const sandbox = await SessionSandbox.of(berth.traces, id)
  await sandbox.made('/workspace/begun')
  await untilCallShipped(berth.dir, id, 'kept-running')
  await berth.server.kill()
  process.kill(await sandbox.shimPid(), 'SIGKILL')
  await berth.server.restart()
  await waitUntil('it is idle', async () => (await berth.client.beta.sessions.retrieve(id)).status === 'idle')
  expect(messagesOf(await berth.list(id))).toEqual(['First.', 'First'])
  await berth.assertClean()
})
