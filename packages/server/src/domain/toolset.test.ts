import type { AgentTool, AgentToolParams } from '@berth/protocol/api/tool'
import { expect, test } from 'vitest'
import { acceptTools, findTool, resolveTools, wireInput } from './toolset.ts'

const toolset = { type: 'agent_toolset_20260401' as const }
const custom = { type: 'custom' as const, name: 'ask', description: 'd', input_schema: { type: 'object' as const } }
const names = (tools: AgentTool[]) => resolveTools(tools).tools.map(({ cliName, policy }) => [cliName, policy])

function accept(...params: AgentToolParams[]): AgentTool[] {
  return acceptTools(params, 'tools')
}

test('the toolset as it is: the six tools of the sandbox, allowed, and nothing of the web', () => {
  expect(names(accept(toolset))).toEqual(
    ['Bash', 'Read', 'Write', 'Edit', 'Glob', 'Grep'].map((name) => [name, 'always_allow']),
  )
  expect(resolveTools([])).toEqual({ tools: [], customTools: [] })
})

test('a choice for one tool goes before the default, member by member', () => {
  const ask = { type: 'always_ask' as const }
  const tools = accept({
    ...toolset,
    default_config: { enabled: false, permission_policy: ask },
    configs: [
      { name: 'bash', enabled: true },
      { name: 'read', enabled: true, permission_policy: { type: 'always_allow' } },
      { name: 'edit', enabled: null },
    ],
  })
  expect(names(tools)).toEqual([
    ['Bash', 'always_ask'],
    ['Read', 'always_allow'],
  ])
})

test('custom tools are kept apart', () => {
  const resolved = resolveTools(accept(custom, { ...toolset, default_config: { enabled: false } }))
  expect(resolved).toEqual({ tools: [], customTools: [custom] })
})

test('a name that a disabled tool does not use is free for a custom one', () => {
  const bash = { ...custom, name: 'bash' }
  const tools = accept({ ...toolset, configs: [{ name: 'bash', enabled: false }] }, bash)
  expect(resolveTools(tools).customTools).toEqual([bash])
  expect(() => accept(toolset, bash)).toThrow('tools.1.name: bash is the name of another tool')
})

test('tools are found by the name that the CLI has for them', () => {
  const resolved = resolveTools(accept({ ...toolset, configs: [{ name: 'grep', enabled: false }] }))
  expect(findTool(resolved, 'Bash')).toMatchObject({ wireName: 'bash' })
  expect(findTool(resolved, 'Grep')).toBeUndefined()
  expect(findTool(resolved, 'bash')).toBeUndefined()
})

test('inputs are shown in the words of the toolset', () => {
  expect(wireInput('Bash', { command: 'ls', timeout: 5, description: 'd' })).toEqual({
    command: 'ls',
    timeout_ms: 5,
    description: 'd',
  })
  expect(wireInput('Read', { file_path: '/a' })).toEqual({ file_path: '/a' })
  expect(wireInput('Read', { file_path: '/a', offset: 5, limit: 2 })).toEqual({ file_path: '/a', view_range: [5, 6] })
  expect(wireInput('Read', { file_path: '/a', offset: 5 })).toEqual({ file_path: '/a', view_range: [5, -1] })
  expect(wireInput('Read', { file_path: '/a', limit: 3 })).toEqual({ file_path: '/a', view_range: [1, 3] })
  expect(wireInput('Read', { file_path: '/a', limit: 'x' })).toEqual({ file_path: '/a', limit: 'x' })
  expect(wireInput('Grep', { pattern: 'x' })).toEqual({ pattern: 'x' })
})
