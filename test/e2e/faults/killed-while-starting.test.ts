import { expect, test } from 'vitest'
import { messagesOf } from '../../harness/reading.ts'
import { startKillableBerth } from '../../harness/test-berth.ts'
import { waitUntil } from '../../harness/wait-until.ts'

test('a server killed before a sandbox is made: the next one makes another, and the message is answered once', async () => {
  await using berth = await startKillableBerth()
  const { id } = await berth.createSession()
  await using events = await berth.watch(id)
  await berth.send(id, ['Begin', '::text Once {{turns}}.'])
  // It is handed over, and waits for a sandbox that is not there yet.
  await events.first('user.message', { where: ({ processed_at }) => processed_at !== null })
  await berth.server.kill()
  await berth.server.restart()
  await waitUntil('it is idle', async () => (await berth.client.beta.sessions.retrieve(id)).status === 'idle')
  expect(messagesOf(await berth.list(id))).toEqual(['Once 1.'])
  expect(berth.modelCalls('Begin')).toHaveLength(1)
  await berth.assertClean()
})
