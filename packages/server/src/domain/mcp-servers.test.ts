import { expect, test } from 'vitest'
import { noLimits } from '@berth/protocol/api/limits'
import { findMcpTool, resolveServers, toLinkServer } from './mcp-servers.ts'
import { toMcpPolicy } from './networking.ts'
import { acceptTools } from './toolset.ts'

const url = 'https://docs.example/mcp?key=k'
const stdio = { type: 'stdio' as const, name: 'files', command: 'files', args: ['-v'], env: { A: 'b' } }
const resolved = resolveServers({
  mcp_servers: [{ type: 'url', name: 'custom', url }],
  berth: { limits: noLimits, mcp_servers: [stdio] },
  tools: acceptTools(
    [
      {
        type: 'mcp_toolset',
        mcp_server_name: 'custom',
        configs: [
          { name: 'read', permission_policy: { type: 'always_allow' } },
          { name: 'drop', enabled: false },
        ],
      },
      {
        type: 'mcp_toolset',
        mcp_server_name: 'files',
        default_config: { enabled: false },
        configs: [{ name: 'stat', enabled: true }],
      },
    ],
    'tools',
  ),
})

test('every tool has a policy: its own, or that of the rest', () => {
  const [docs, files] = resolved
  const policies = (name = '') =>
    ['read', 'drop', 'stat', 'other'].map((tool) => findMcpTool(resolved, `mcp__${name}__${tool}`)?.policy)
  expect(policies(docs?.linkName)).toEqual(['always_allow', 'deny', 'always_ask', 'always_ask'])
  expect(policies(files?.linkName)).toEqual(['deny', 'deny', 'always_ask', 'deny'])
  expect(policies('custom')).toEqual([undefined, undefined, undefined, undefined])
  expect(findMcpTool(resolved, `mcp__${docs?.linkName}__a__b`)).toMatchObject({
    name: 'a__b',
    server: { name: 'custom' },
  })
})

test('the runner is not told where a server of the web is, but knows one place from another', () => {
  const [docs, files] = resolved.map(toLinkServer)
  expect(JSON.stringify(docs)).not.toContain('docs.example')
  expect(docs).toMatchObject({
    type: 'remote',
    place: expect.stringMatching(/^[0-9a-f]{16}$/),
    other_tools: 'always_ask',
  })
  const { type, command, args, env } = stdio
  expect(files).toMatchObject({ type, command, args, env, name: 'files', other_tools: 'deny' })
})

test('servers are reached where the environment allows it: by name, or as servers', () => {
  const limited = { type: 'limited' as const, allowed_hosts: ['a.example'], allow_package_managers: true }
  expect(toMcpPolicy({ ...limited, allow_mcp_servers: false }, [url])).toEqual({
    type: 'limited',
    hosts: ['a.example'],
  })
  expect(toMcpPolicy({ ...limited, allow_mcp_servers: true }, [url])).toEqual({
    type: 'limited',
    hosts: ['a.example', 'docs.example'],
  })
  expect(toMcpPolicy({ type: 'unrestricted' }, [url])).toEqual({ type: 'unrestricted' })
})
