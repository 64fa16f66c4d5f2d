import { expect, it } from 'vitest'
import { tool as mcpTool } from '../../packages/runner/src/testing/mcp-peer.ts'
import { startMcpBerth } from '../harness/mcp-berth.ts'
import { tool } from '../harness/message.ts'
import { blocksOf, readPage } from './page.ts'
import { runExample } from './run-example.ts'

const page = readPage('docs/guide/mcp.md')

it('the agents of the guide to MCP servers are accepted, and its example runs as it stands', async () => {
  await using world = await startMcpBerth(['docs.test'])
  const { berth, peer } = world
  for (const agent of blocksOf(page, 'json')) {
    const headers = { 'content-type': 'application/json' }
    const answer = await berth.fetch('/v1/agents', { method: 'POST', headers, body: agent })
    expect(await answer.json()).toMatchObject({ type: 'agent' })
  }
  peer.servers['docs'] = { tools: [mcpTool('search')] }
  const task = ['Look', tool('mcp__docs__search', { q: 'news' }), '::next', '::text {{result}}'].join('\n')
  const printed = await runExample(berth, blocksOf(page, 'ts')[0] ?? '', ['https://docs.test/docs', task])
  expect(printed).toEqual(['docs: search {"q":"news"}', 'search got {"q":"news"}'])
  await berth.assertClean()
})
