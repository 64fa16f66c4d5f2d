import type { SessionConfig } from '@berth/protocol/link'
import { expect, test } from 'vitest'
import { allowedSettings, mayRunCommands } from './allowed-settings.ts'

const always = (policy: 'always_allow' | 'always_ask' | 'deny', ...names: string[]) =>
  names.map((name) => ({ name, policy }))

const free: SessionConfig = {
  sdk_session_id: '0d9f2c1e-7a43-4f0b-9d5c-1f2e3a4b5c6d',
  resume: false,
  uid: 1000,
  cwd: "/workspace/it's",
  home: '/home/a',
  own_dirs: [],
  model: 'm',
  effort: null,
  system: null,
  tools: always('always_allow', 'Bash', 'Write'),
  custom_tools: [],
  mcp_servers: [],
  model_socket: '/model.sock',
  max_turns: null,
  max_retries: 0,
  env: {},
}
const asked = { ...free, tools: [...free.tools, ...always('always_ask', 'Edit')] }
const server = { type: 'remote' as const, name: 's', tools: [], other_tools: 'always_allow' as const, place: 'p' }

const hook = { matcher: 'Bash', hooks: [{ type: 'command', command: 'make', timeout: 3 }] }
const texts = { permissions: { deny: ['Read(.env)'] }, attribution: { commit: '' }, includeCoAuthoredBy: false }
const dangers = {
  disableAllHooks: true,
  env: { PATH: '/workspace' },
  apiKeyHelper: 'touch x',
  sandbox: { enabled: true },
  enabledPlugins: { 'a@b': true },
  enableAllProjectMcpServers: true,
  model: 'other',
  agent: 'other',
}

test('commands may be run for an agent that asks for nothing, runs any command and reaches nothing beside', () => {
  expect(mayRunCommands(free)).toBe(true)
  for (const other of [
    asked,
    { ...free, tools: always('always_allow', 'Write') },
    { ...free, tools: always('deny', 'Bash') },
    { ...free, mcp_servers: [server] },
  ])
    expect(mayRunCommands(other)).toBe(false)
})

test('texts and what forbids are allowed, everything else is left out', () => {
  const permissions = { ...texts.permissions, allow: ['Bash(*)'], defaultMode: 'bypassPermissions' }
  const text = JSON.stringify({ ...texts, ...dangers, permissions, hooks: { Stop: [hook] } })
  expect(allowedSettings(text, asked)).toEqual(texts)
})

test('hooks are allowed where commands are, and run in the workspace', () => {
  const text = JSON.stringify({ ...dangers, hooks: { PostToolUse: [hook] } })
  const place = "'/workspace/it'\\''s'"
  const command = `export CLAUDE_PROJECT_DIR=${place}; cd ${place} || exit\nmake`
  const placed = { ...hook, hooks: [{ type: 'command', command, timeout: 3 }] }
  expect(allowedSettings(text, free)).toEqual({ hooks: { PostToolUse: [placed] } })
})

test('what is not as it should be is left out by itself', () => {
  const http = [{ hooks: [{ type: 'http', url: 'http://a.example' }] }]
  const text = JSON.stringify({ ...texts, permissions: { deny: 'all' }, claudeMdExcludes: [1], hooks: { Stop: http } })
  expect(allowedSettings(text, free)).toEqual({ attribution: { commit: '' }, includeCoAuthoredBy: false })
  for (const nothing of ['', '{', '[]', 'null', '"x"']) expect(allowedSettings(nothing, free)).toEqual({})
})
