import type { SessionConfig } from '@berth/protocol/link'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bundleForTests } from './testing/bundle.ts'
import { McpPeer, tool } from './testing/mcp-peer.ts'
import { TestSandbox, type TestSession } from './testing/sandbox.ts'

const bundle = bundleForTests()

type Server = SessionConfig['mcp_servers'][number]
type Remote = Omit<Server & { type: 'remote' }, 'type'>
const remote = (name: string, more: Partial<Remote> = {}): Server => ({
  type: 'remote',
  name,
  place: 'here',
  tools: [],
  other_tools: 'always_allow',
  ...more,
})

async function start() {
  const stack = new AsyncDisposableStack()
  const sandbox = stack.use(await TestSandbox.start(bundle))
  const socket = join(sandbox.dir, 'mcp.sock')
  const peer = stack.use(await McpPeer.listen(socket))
  const session = (...mcp_servers: Server[]) => sandbox.session({ mcp_servers, mcp_socket: socket })
  return { sandbox, peer, socket, session, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

const offered = (sandbox: TestSandbox) => sandbox.model.requests().at(-1)?.tools ?? []
const lastResults = (sandbox: TestSandbox) => JSON.stringify(sandbox.model.requests().at(-1)?.last_user)
const failures = (session: TestSession) => session.all('mcp_failure').map(({ server, kind, detail }) => `${server} ${kind}: ${detail}`)

test('tools of a remote server are offered, called past the gate, and answered', async () => {
  await using world = await start()
  const { sandbox, peer } = world
  peer.servers['docs'] = { tools: [tool('search'), tool('drop'), tool('rest')] }
  const session = world.session(
    remote('docs', { tools: [{ name: 'drop', policy: 'deny' }, { name: 'rest', policy: 'always_ask' }] }),
  )
  session.open()
  session.say('::tool mcp__docs__search {"q":"one"}', '::next', '::tool mcp__docs__rest {"q":"two"}', '::next', '::text ok')
  expect(await session.report('tool_call')).toMatchObject({ name: 'mcp__docs__search', policy: 'always_allow' })
  const asked = await session.report('tool_call', 2)
  expect(asked).toMatchObject({ name: 'mcp__docs__rest', policy: 'always_ask' })
  expect(peer.of('tools/call')).toHaveLength(1)
  session.send({ type: 'verdict', tool_use_id: asked.tool_use_id, behavior: 'allow', message: null })
  await session.idle()
  expect(offered(sandbox)).toEqual(expect.arrayContaining(['mcp__docs__search', 'mcp__docs__rest']))
  expect(offered(sandbox)).not.toContain('mcp__docs__drop')
  expect(JSON.stringify(session.messages('user'))).toContain('search got')
  expect(lastResults(sandbox)).toContain('rest got')
  // Nothing of the CLI's own goes with a call.
  expect(peer.of('tools/call').map(({ params }) => params)).toEqual([
    { name: 'search', arguments: { q: 'one' } },
    { name: 'rest', arguments: { q: 'two' } },
  ])
  expect(failures(session)).toEqual([])
})
