import { expect, test } from 'vitest'
import { tool } from '../../harness/message.ts'
import { messagesOf, ofType, onlyOf } from '../../harness/reading.ts'
import { SessionSandbox } from '../../harness/session-sandbox.ts'
import { untilCallsShipped } from '../../harness/shipped.ts'
import { startKillableBerth } from '../../harness/test-berth.ts'
import { waitUntil } from '../../harness/wait-until.ts'

const askBash = {
  type: 'agent_toolset_20260401' as const,
  configs: [{ name: 'bash' as const, permission_policy: { type: 'always_ask' as const } }],
}

test('calls wait while server, gateway and sandbox are all gone, and run once each when they are allowed later', async () => {
  await using berth = await startKillableBerth()
  const agent = await berth.createAgent({ tools: [askBash] })
  const { id } = await berth.createSession({ agent: agent.id })
  const mark = (name: string) => tool('Bash', { command: `echo ran >> ${name}; cat ${name}` })
  const turn = await berth.runTurn(id, ['Do', mark('a'), mark('b'), '::next', '::text {{result:1}} {{result:2}}'])
  const calls = ofType(turn, 'agent.tool_use').map((use) => use.id)
  const { stop_reason } = onlyOf(turn, 'session.status_idle')
  expect(stop_reason).toEqual({ type: 'requires_action', event_ids: calls })
  await untilCallsShipped(berth.dir, id)
  const sandbox = await SessionSandbox.of(berth.traces, id)
  const gateway = await berth.traces.gateway()
  await berth.server.kill()
  process.kill(await sandbox.shimPid(), 'SIGKILL')
  if (gateway !== undefined) process.kill(gateway.pid, 'SIGKILL')
  await berth.server.restart()
  expect(await berth.client.beta.sessions.retrieve(id)).toMatchObject({ status: 'idle' })
  await berth.server.kill()
  await berth.server.restart()
  const confirm = (tool_use_id: string) => ({
    type: 'user.tool_confirmation' as const,
    tool_use_id,
    result: 'allow' as const,
  })
  await berth.client.beta.sessions.events.send(id, { events: calls.toReversed().map(confirm) })
  const late = AbortSignal.timeout(90_000)
  await waitUntil('the agent has gone on', async () => messagesOf(await berth.list(id)).length > 0, late)
  expect(messagesOf(await berth.list(id))).toEqual(['ran ran'])
  expect(berth.modelCalls('Do')).toHaveLength(2)
  await berth.assertClean()
}, 240_000)
