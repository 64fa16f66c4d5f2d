import { describe, expect } from 'vitest'
import type { StreamEvent } from '../harness/event-collector.ts'
import { tool } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'

/** Each call with its result, in the order of the calls. */
function callsOf(turn: readonly StreamEvent[]) {
  const results = ofType(turn, 'agent.tool_result')
  return ofType(turn, 'agent.tool_use').map((call) => {
    const found = results.filter(({ tool_use_id }) => tool_use_id === call.id)
    expect(found).toHaveLength(1)
    return { call, result: found[0], text: textOf(found[0]?.content) }
  })
}

describe('tools', () => {
  story('of the toolset work on the workspace, in the words of the wire', async ({ berth }) => {
    const { id } = await berth.createSession()
    const turn = await berth.runTurn(id, [
      'Work',
      tool('Write', { file_path: '/workspace/a/notes.txt', content: 'one\ntwo\nthree\n' }),
      '::next',
      tool('Read', { file_path: '/workspace/a/notes.txt', offset: 2, limit: 1 }),
      '::next',
      tool('Edit', { file_path: '/workspace/a/notes.txt', old_string: 'two', new_string: 'TWO' }),
      '::next',
      tool('Bash', { command: 'pwd; cat a/notes.txt', timeout: 10_000 }),
      '::next',
      tool('Glob', { pattern: '**/*.txt' }),
      '::next',
      tool('Grep', { pattern: 'T.O', output_mode: 'content' }),
      '::next',
      '::text Done.',
    ])
    const calls = callsOf(turn)
    expect(calls.map(({ call: { name, input } }) => ({ name, input }))).toEqual([
      { name: 'write', input: { file_path: '/workspace/a/notes.txt', content: 'one\ntwo\nthree\n' } },
      { name: 'read', input: { file_path: '/workspace/a/notes.txt', view_range: [2, 2] } },
      {
        name: 'edit',
        input: { file_path: '/workspace/a/notes.txt', old_string: 'two', new_string: 'TWO', replace_all: false },
      },
      { name: 'bash', input: { command: 'pwd; cat a/notes.txt', timeout_ms: 10_000 } },
      { name: 'glob', input: { pattern: '**/*.txt' } },
      { name: 'grep', input: { pattern: 'T.O', output_mode: 'content' } },
    ])
    for (const { call, result } of calls) {
      expect(call.id).toMatch(/^sevt_/)
      expect(call).toMatchObject({ evaluated_permission: 'allow', evaluation: { type: 'always_allow' } })
      expect(result?.is_error).toBe(false)
    }
    const [, read, , bash, glob, grep] = calls.map(({ text }) => text)
    expect(read).toContain('two')
    expect(read).not.toContain('three')
    expect(bash).toBe('/workspace\none\nTWO\nthree')
    expect(glob).toContain('a/notes.txt')
    expect(grep).toContain('TWO')
  })

  story('called together each have a result of their own, whichever ends first', async ({ berth }) => {
    const { id } = await berth.createSession()
    const turn = await berth.runTurn(id, [
      'Together',
      tool('Bash', { command: 'sleep 0.5; echo slow' }),
      tool('Bash', { command: 'echo quick' }),
      tool('Bash', { command: 'echo quick' }),
      '::next',
      '::text {{result:1}}, {{result:2}}, {{result:3}}',
    ])
    const calls = callsOf(turn)
    expect(calls.map(({ text }) => text)).toEqual(['slow', 'quick', 'quick'])
    expect(messagesOf(turn)).toEqual(['slow, quick, quick'])
    const end = turn.findIndex(({ type }) => type === 'span.model_request_end')
    for (const { call } of calls) expect(turn.indexOf(call)).toBeLessThan(end)
  })

  story('that fail say so, and the turn goes on', async ({ berth }) => {
    const { id } = await berth.createSession()
    const turn = await berth.runTurn(id, [
      'Fail',
      tool('Bash', { command: 'echo before; ls /nowhere; exit 3' }),
      tool('Read', { file_path: '/workspace/missing' }),
      '::next',
      '::text I see.',
    ])
    const [bash, read] = callsOf(turn)
    expect(bash?.result?.is_error).toBe(true)
    expect(bash?.text).toContain('before')
    expect(bash?.text).toContain('/nowhere')
    expect(read?.result?.is_error).toBe(true)
    expect(messagesOf(turn)).toEqual(['I see.'])
    expect(onlyOf(turn, 'session.status_idle').stop_reason.type).toBe('end_turn')
  })

  story('that are off are not offered, and refused when they are called all the same', async ({ berth }) => {
    const agent = await berth.createAgent({
      tools: [
        {
          type: 'agent_toolset_20260401',
          default_config: { enabled: false },
          configs: [
            { name: 'bash', enabled: true },
            { name: 'read', enabled: true },
          ],
        },
      ],
    })
    const { id } = await berth.createSession({ agent: agent.id })
    const turn = await berth.runTurn(id, [
      'Only two tools',
      tool('Write', { file_path: '/workspace/x', content: 'x' }),
      '::next',
      tool('Bash', { command: 'ls /workspace' }),
      '::next',
      '::text Done.',
    ])
    const calls = berth.modelCalls('Only two tools')
    expect(calls).toHaveLength(3)
    for (const { tools } of calls) {
      expect(tools).toEqual(expect.arrayContaining(['Bash', 'Read']))
      for (const off of ['Write', 'Edit', 'Glob', 'Grep', 'WebFetch', 'WebSearch', 'Agent'])
        expect(tools).not.toContain(off)
    }
    const [write, ls] = callsOf(turn)
    expect(write?.call).toMatchObject({ name: 'write', evaluated_permission: 'deny' })
    expect(write?.call).not.toHaveProperty('evaluation')
    expect(write?.result?.is_error).toBe(true)
    expect(ls?.text).not.toContain('x')
  })

  story('of an agent without a toolset are none', async ({ berth }) => {
    const agent = await berth.createAgent({ tools: [], system: 'You only talk.' })
    const { id } = await berth.createSession({ agent: agent.id })
    const turn = await berth.runTurn(id, ['Talk only', '::text {{system}}'])
    expect(berth.modelCalls('Talk only').map(({ tools }) => tools)).toEqual([[]])
    expect(messagesOf(turn)).toEqual([expect.stringContaining('You only talk.')])
  })

  story('give back images as images', async ({ berth }) => {
    const { id } = await berth.createSession()
    const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
    const turn = await berth.runTurn(id, [
      'Picture',
      tool('Bash', { command: `echo ${png} | base64 -d > dot.png` }),
      '::next',
      tool('Read', { file_path: '/workspace/dot.png' }),
      '::next',
      '::text Seen.',
    ])
    const read = ofType(turn, 'agent.tool_result')[1]
    expect(read?.content).toEqual([
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: expect.any(String) } },
    ])
  })
})
