import { describe, expect } from 'vitest'
import { tool } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

const bad = { status: 400, type: 'invalid_request_error' }
const gone = { status: 404, type: 'not_found_error' }

async function running(berth: TestBerth): Promise<string> {
  const { id } = await berth.createSession()
  await berth.send(id, ['Hang', '::hang'])
  return id
}

describe('an update of a session', () => {
  story('of its title and metadata is an event with what changed, also while it runs', async ({ berth }) => {
    const { id } = await berth.createSession({ title: 'Old', metadata: { a: '1', b: '2' } })
    await using events = await berth.watch(id)
    const { sessions } = berth.client.beta
    await sessions.update(id, { title: 'New' })
    await sessions.update(id, { metadata: { a: null, c: '3' } })
    await sessions.update(id, { title: 'New', metadata: {} })
    await sessions.update(id, { metadata: { b: null, c: null } })
    await sessions.update(id, { title: null })
    await berth.send(id, ['Hang', '::hang'])
    const session = await sessions.update(id, { title: 'While running' })
    expect(session).toMatchObject({ status: 'running', title: 'While running', metadata: {} })
    await events.first('session.updated', { where: ({ title }) => title === 'While running' })
    const changes = ofType(events.events, 'session.updated').map(
      ({ id: _id, type: _type, processed_at: _at, ...rest }) => rest,
    )
    expect(changes).toEqual([
      { title: 'New' },
      { metadata: { b: '2', c: '3' } },
      {},
      { title: null },
      { title: 'While running' },
    ])
  })

  story('of the tools holds from the next turn on', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['Before', tool('Bash', { command: 'echo kept > kept' }), '::next', '::text ok'])
    await using events = await berth.watch(id)
    const custom = {
      type: 'custom' as const,
      name: 'lookup',
      description: 'Looks something up',
      input_schema: { type: 'object' as const, properties: {} },
    }
    const toolset = {
      type: 'agent_toolset_20260401' as const,
      default_config: { enabled: false },
      configs: [{ name: 'read' as const, enabled: true }],
    }
    const updated = await berth.client.beta.sessions.update(id, { agent: { tools: [toolset, custom] } })
    const event = await events.first('session.updated')
    expect(event.agent).toEqual(updated.agent)
    expect(updated.agent.version).toBe(1)
    const from = events.events.length
    await berth.send(id, [
      'After',
      tool('Read', { file_path: '/workspace/kept' }),
      tool('Bash', { command: 'echo gone > kept' }),
      tool('mcp__custom__lookup'),
      '::next',
      tool('Read', { file_path: '/workspace/kept' }),
      '::next',
      '::text {{prompt:1}} and {{result}}',
    ])
    const turn = await events.turn(from)
    const [call] = berth.modelCalls('After')
    expect(call?.tools).toEqual(expect.arrayContaining(['Read', 'mcp__custom__lookup']))
    const [read, bash] = ofType(turn, 'agent.tool_use')
    expect(read).toMatchObject({ name: 'read', evaluated_permission: 'allow' })
    expect(bash).toMatchObject({ name: 'bash', evaluated_permission: 'deny' })
    const use = onlyOf(turn, 'agent.custom_tool_use')
    const then = events.events.length
    await berth.client.beta.sessions.events.send(id, {
      events: [{ type: 'user.custom_tool_result', custom_tool_use_id: use.id }],
    })
    const rest = await events.turn(then)
    const results = ofType(events.events.slice(from), 'agent.tool_result')
    expect(results).toHaveLength(3)
    for (const result of results) expect(result.is_error).toBe(result.tool_use_id === bash?.id)
    expect(messagesOf(rest)).toEqual([expect.stringMatching(/^Before and [^]*kept/)])
  })

  story('of the tools is refused while it runs, and after its end everything is', async ({ berth }) => {
    const id = await running(berth)
    const { sessions } = berth.client.beta
    await expect(sessions.update(id, { agent: { tools: [] } })).rejects.toMatchObject(bad)
    const other = await berth.createSession()
    await expect(sessions.update(other.id, { vault_ids: [] })).rejects.toMatchObject(bad)
    await sessions.archive(other.id)
    await expect(sessions.update(other.id, { title: 'Late' })).rejects.toMatchObject(bad)
  })
})

describe('archiving', () => {
  story('ends a session: history stays, nothing more is taken, streams end, the sandbox goes', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['Say', '::text Said.'])
    const before = await berth.list(id)
    await using events = await berth.watch(id)
    const { sessions } = berth.client.beta
    const archived = await sessions.archive(id)
    expect(archived).toMatchObject({ status: 'terminated', archived_at: expect.any(String) })
    await events.finished()
    expect(events.events.map(({ type }) => type)).toEqual([
      'session.thread_status_terminated',
      'session.status_terminated',
    ])
    expect(await berth.list(id)).toEqual([...before, ...events.events])
    await expect(berth.send(id, 'Hello?')).rejects.toMatchObject(bad)
    await expect(sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })).rejects.toMatchObject(bad)
    const listed = async (include_archived: boolean) => {
      const ids: string[] = []
      for await (const session of sessions.list({ include_archived })) ids.push(session.id)
      return ids
    }
    expect(await listed(false)).not.toContain(id)
    expect(await listed(true)).toContain(id)
    expect(await sessions.archive(id)).toEqual(archived)
    await berth.traces.untilNone()
  })

  story('and deleting are refused while it runs, and change nothing', async ({ berth }) => {
    const id = await running(berth)
    const { sessions } = berth.client.beta
    await expect(sessions.archive(id)).rejects.toMatchObject(bad)
    await expect(sessions.delete(id)).rejects.toMatchObject(bad)
    expect(await sessions.retrieve(id)).toMatchObject({ status: 'running', archived_at: null })
    await using events = await berth.watch(id)
    await sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })
    await events.turn()
    await sessions.archive(id)
  })

  story('while a call waits for a yes ends the session, and the call never runs', async ({ berth }) => {
    const agent = await berth.createAgent({
      tools: [{ type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'always_ask' } } }],
    })
    const { id } = await berth.createSession({ agent: agent.id })
    const turn = await berth.runTurn(id, ['Ask', tool('Bash', { command: 'true' }), '::next', '::text Never.'])
    await berth.client.beta.sessions.archive(id)
    const call = onlyOf(turn, 'agent.tool_use')
    await expect(
      berth.client.beta.sessions.events.send(id, {
        events: [{ type: 'user.tool_confirmation', tool_use_id: call.id, result: 'allow' }],
      }),
    ).rejects.toMatchObject(bad)
    expect(berth.modelCalls('Ask')).toHaveLength(1)
  })
})

describe('deleting', () => {
  story('takes everything away, and says so to who watches', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['Say', '::text Said.'])
    expect((await berth.traces.ofSandboxes()).length).toBeGreaterThan(0)
    await using events = await berth.watch(id)
    const { sessions } = berth.client.beta
    expect(await sessions.delete(id)).toEqual({ id, type: 'session_deleted' })
    await events.finished()
    expect(events.events).toMatchObject([{ type: 'session.deleted' }])
    await expect(sessions.retrieve(id)).rejects.toMatchObject(gone)
    await expect(sessions.delete(id)).rejects.toMatchObject(gone)
    await expect(sessions.events.list(id)).rejects.toMatchObject(gone)
    await expect(sessions.events.stream(id)).rejects.toMatchObject(gone)
    await expect(berth.send(id, 'Hello?')).rejects.toMatchObject(gone)
    expect((await berth.fetch(`/berth/v1/sessions/${id}/sdk_messages`)).status).toBe(404)
    expect((await berth.fetch(`/berth/v1/sessions/${id}/sdk_messages/stream`)).status).toBe(404)
    await berth.traces.untilNone()
  })

  story('of a session that never ran, and of an archived one', async ({ berth }) => {
    const fresh = await berth.createSession()
    await berth.client.beta.sessions.delete(fresh.id)
    const archived = await berth.createSession()
    await berth.client.beta.sessions.archive(archived.id)
    await berth.client.beta.sessions.delete(archived.id)
    for (const { id } of [fresh, archived]) {
      await expect(berth.client.beta.sessions.retrieve(id)).rejects.toMatchObject(gone)
    }
  })

  story('of its agent’s or environment’s archive leaves the session working', async ({ berth }) => {
    const agent = await berth.createAgent()
    const environment = await berth.createEnvironment()
    const { id } = await berth.createSession({ agent: agent.id, environment_id: environment.id })
    await berth.client.beta.agents.archive(agent.id)
    const turn = await berth.runTurn(id, ['Still here', '::text {{turns}}'])
    expect(textOf(onlyOf(turn, 'agent.message').content)).toBe('1')
  })
})
