import type { SessionConfig } from '@berth/protocol/link'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bundleForTests } from './testing/bundle.ts'
import { losesCli } from './testing/lost-cli.ts'
import { McpPeer, tool } from './testing/mcp-peer.ts'
import { stdioProgram } from './testing/stdio-program.ts'
import { TestSandbox } from './testing/sandbox.ts'

const bundle = bundleForTests()
const asked = { tools: [], other_tools: 'always_ask' as const }

test('calls of MCP tools that a CLI held which is gone are made once each, those of the web without another CLI', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const mcp_socket = join(sandbox.dir, 'mcp.sock')
  await using peer = await McpPeer.listen(mcp_socket)
  peer.servers['docs'] = { tools: [tool('search')] }
  const mcp_servers: SessionConfig['mcp_servers'] = [
    { type: 'remote', name: 'docs', place: 'here', ...asked },
    { type: 'stdio', name: 'files', command: process.execPath, args: ['server.cjs'], env: { PLACE: 'here' }, ...asked },
  ]
  const session = sandbox.session({ mcp_servers, mcp_socket })
  const { cwd } = session.config
  writeFileSync(join(cwd, 'server.cjs'), stdioProgram)
  const calls = await losesCli(sandbox, session, [
    '::tool mcp__docs__search {"q":"one"}',
    '::tool mcp__files__whoami {}',
    '::tool mcp__docs__search {"q":"two"}',
  ])
  expect(peer.of('tools/call')).toEqual([])
  const requests = sandbox.model.requests().length
  // The program of the sandbox is vetted by nobody.
  const digestOf = new Map(session.all('seen_tools').flatMap(({ tools }) => tools.map((one) => [one.name, one.digest])))
  const approved = calls.map((one, index) => ({ ...one, digest: index === 1 ? null : (digestOf.get('search') ?? '') }))
  session.send({ type: 'run_calls', config: session.config, seen_tools: [], calls: approved })
  await sandbox.peer.until(() => session.messages('user').length === 3)
  const ids = calls.map(({ tool_use_id }) => tool_use_id)
  expect(session.all('call_begins').map(({ tool_use_id }) => tool_use_id)).toEqual(ids)
  const results = session.messages('user').map(({ message }) => JSON.stringify(message))
  for (const [index, text] of ['search got', 'in here calls whoami', 'search got'].entries()) {
    expect(results[index]).toContain(text)
    expect(results[index]).toContain(ids[index])
  }
  expect(peer.of('tools/call').map(({ params }) => params?.['arguments'])).toEqual([{ q: 'one' }, { q: 'two' }])
  expect(readFileSync(join(cwd, 'calls'), 'utf8')).toBe('called\n')
  expect(
    sandbox.model
      .requests()
      .slice(requests)
      .filter(({ prompt }) => prompt === 'Do'),
  ).toEqual([])
})

test('a call that was held is made of the tool for which it was allowed, and of no other', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const mcp_socket = join(sandbox.dir, 'mcp.sock')
  await using peer = await McpPeer.listen(mcp_socket)
  const script = { tools: [tool('stay'), tool('change'), tool('go'), tool('other')] }
  peer.servers['docs'] = script
  const session = sandbox.session({
    mcp_servers: [{ type: 'remote', name: 'docs', place: 'here', ...asked }],
    mcp_socket,
  })
  const names = ['stay', 'change', 'go', 'other']
  const calls = await losesCli(
    sandbox,
    session,
    names.map((name) => `::tool mcp__docs__${name} {}`),
  )
  const [seen] = session.all('seen_tools')
  const digests = seen?.tools.map(({ digest }) => digest) ?? []
  expect(seen?.tools.map(({ name }) => name)).toEqual(names)
  // Without a word about it.
  script.tools = [tool('stay'), tool('change', { description: 'Now for everybody.' }), tool('other')]
  const approved = calls.map((one, index) => ({ ...one, digest: digests[names[index] === 'other' ? 0 : index] ?? '' }))
  session.send({ type: 'run_calls', config: session.config, seen_tools: [], calls: approved })
  await sandbox.peer.until(() => session.messages('user').length === 4)
  const results = session.messages('user').map(({ message }) => JSON.stringify(message))
  const expected = [
    /stay got/,
    /has changed the tool change/,
    /does not have the tool go/,
    /does not have the tool other/,
  ]
  for (const [index, text] of expected.entries()) expect(results[index]).toMatch(text)
  expect(results.filter((result) => result.includes('"is_error":true'))).toHaveLength(3)
  expect(peer.of('tools/call').map(({ params }) => params?.['name'])).toEqual(['stay'])
  expect(session.all('mcp_failure').map(({ detail }) => detail)).toEqual([
    'its tool change has changed, and is withheld',
  ])
})
