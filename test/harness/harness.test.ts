import { expect, test } from 'vitest'
import { message, tool } from './message.ts'
import { story } from './story.ts'
import { startKillableBerth } from './test-berth.ts'

story('a turn runs, and nothing of its sandbox is left when it was asked for', async ({ berth }) => {
  const session = await berth.createSession()
  const turn = await berth.runTurn(session.id, [
    'Hello',
    tool('Bash', { command: 'echo here' }),
    '::next',
    '::text {{result}}',
  ])
  expect(turn.at(-1)).toMatchObject({ type: 'session.status_idle', stop_reason: { type: 'end_turn' } })
  expect(turn.find(({ type }) => type === 'agent.message')).toMatchObject({ content: [{ type: 'text', text: 'here' }] })
  expect(berth.modelCalls('Hello').length).toBe(2)
  expect((await berth.traces.ofSandboxes()).join('\n')).toMatch(/process .*\n/)
  await berth.assertClean()
  expect(berth.traces.sandboxIds.length).toBeGreaterThan(0)
})

test('a server that was killed goes on where it was', async () => {
  await using berth = await startKillableBerth()
  const session = await berth.createSession()
  await berth.runTurn(session.id, 'First')
  await berth.server.kill()
  await expect(berth.client.beta.sessions.retrieve(session.id)).rejects.toThrow()
  await berth.server.restart()
  const turn = await berth.runTurn(session.id, ['Second', '::text {{prompt:1}}'])
  expect(turn.find(({ type }) => type === 'agent.message')).toMatchObject({
    content: [{ type: 'text', text: 'First' }],
  })
})

test('what a failed test leaves behind is removed all the same', async () => {
  const berth = await startKillableBerth()
  const session = await berth.createSession()
  await berth.client.beta.sessions.events.send(session.id, { events: [message(['Wait', '::hang'])] })
  await expect.poll(() => berth.modelCalls('Wait').length).toBe(1)
  await berth.server.kill()
  const gateway = await berth.traces.gateway()
  expect(gateway?.pid).toBeGreaterThan(0)
  await berth[Symbol.asyncDispose]()
  expect(await berth.traces.gateway()).toBeUndefined()
})
