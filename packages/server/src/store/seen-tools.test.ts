/** What a session has first seen of the tools of its MCP servers outlives its sandboxes, and decides what becomes of calls that waited. */
import { type Command, command, fromRunner, type Report } from '@berth/protocol'
import { listPrices } from '@berth/protocol/prices'
import { MAX_SEEN_TOOLS } from '@berth/protocol/seen-tools'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openStored, type StoredPlaces } from '../../test/open-stored.ts'
import { seenTool, seenTools, workspaceId } from '../../test/session-places.ts'
import { SessionWorld } from '../../test/session-world.ts'
import { newId } from '../domain/ids.ts'
import { toLinkPlace } from '../domain/mcp-servers.ts'

const hello = { type: 'user.message' as const, content: [{ type: 'text' as const, text: 'Hello' }] }
const crash = { type: 'exited' as const, reason: 'crashed' as const, exit_code: 1, signal: null, detail: '' }
const digest = 'd'.repeat(43)

let stored: StoredPlaces
beforeAll(async () => void (stored = await openStored()))
afterAll(() => stored[Symbol.asyncDispose]())

/** A session whose agent has taken an input. */
async function openWorld(): Promise<SessionWorld> {
  const world = await SessionWorld.create(stored, stored.places, 'continue')
  await world.send([hello])
  await world.deliver()
  await world.takeInput()
  return world
}

/** The last command of the type that a runner was given. */
function given<T extends Command['type']>({ id }: SessionWorld, type: T): Extract<Command, { type: T }> | undefined {
  const rows = stored.raw.prepare('SELECT body FROM outbox WHERE session_id = ? ORDER BY seq DESC').all(id)
  const commands = rows.map(({ body }) => command.parse(JSON.parse(String(body))))
  return commands.find((one): one is Extract<typeof one, { type: T }> => one.type === type)
}

/** Another sandbox, in which the next input is. */
async function moveOn(world: SessionWorld): Promise<void> {
  await world.settle()
  await world.lose()
  await world.send([hello])
  await world.deliver()
}

test('the next runner is told; what is known stays, and of what cannot be the session’s nothing is kept', async () => {
  const world = await openWorld()
  expect(given(world, 'open')?.seen_tools).toEqual([])
  const foreign: Report[] = [
    { type: 'seen_tools', server: 'docs', place: 'elsewhere', tools: [seenTool('a')] },
    { type: 'seen_tools', server: 'other', place: toLinkPlace('https://docs.example/mcp'), tools: [seenTool('a')] },
  ]
  await world.report([seenTools(seenTool('a'), seenTool('b')), ...foreign])
  const other = { ...seenTool('a'), digest: 'e'.repeat(43) }
  await world.report([seenTools(other, seenTool('b', true)), seenTools(seenTool('b'), seenTool('c'))], 2)
  await moveOn(world)
  const tools = [seenTool('a'), seenTool('b', true), seenTool('c')]
  const docs = { server: 'docs', place: toLinkPlace('https://docs.example/mcp') }
  expect(given(world, 'open')?.seen_tools).toEqual([{ ...docs, tools }])
})

test('a runner that makes tools up comes to an end, and one that says nonsense is not heard', async () => {
  const world = await openWorld()
  for (let round = 0; round < 4; round++) {
    await world.report([seenTools(...Array.from({ length: 512 }, (_, index) => seenTool(`t${round}_${index}`)))])
  }
  await moveOn(world)
  expect(given(world, 'open')?.seen_tools[0]?.tools).toHaveLength(MAX_SEEN_TOOLS)
  const said = (...tools: object[]): boolean => {
    const body = { type: 'seen_tools', server: 'docs', place: 'p', tools }
    return fromRunner.safeParse({ type: 'frame', session_id: 's', seq: 1, body }).success
  }
  expect(said(seenTool('a'))).toBe(true)
  expect(said()).toBe(false)
  expect(said(seenTool('a b'))).toBe(false)
  expect(said({ ...seenTool('a'), digest: 'short' })).toBe(false)
  expect(said({ ...seenTool('a'), is_withheld: 1 })).toBe(false)
  expect(said(...Array.from({ length: 513 }, (_, index) => seenTool(`t${index}`)))).toBe(false)
})

async function update({ id: sessionId }: SessionWorld, agent: object): Promise<void> {
  const now = new Date().toISOString()
  await stored.store.updateSession({ workspaceId, sessionId, body: { agent }, prices: listPrices, now })
}

const docsAt = (url: string, ...configs: { name: string; enabled: boolean }[]) => ({
  mcp_servers: [{ type: 'url' as const, name: 'docs', url }],
  tools: [{ type: 'mcp_toolset' as const, mcp_server_name: 'docs', configs }],
})

test('a server that the session had not for a turn, or that has moved, is as new', async () => {
  const world = await openWorld()
  const goOn = async (agent: object): Promise<void> => {
    await world.settle()
    await update(world, agent)
    await world.send([hello])
    await world.deliver()
  }
  await world.report([seenTools(seenTool('a'))])
  await goOn({ tools: [], mcp_servers: [] })
  await goOn(docsAt('https://docs.example/mcp'))
  expect(given(world, 'open')?.seen_tools).toEqual([])
  await world.report([seenTools(seenTool('a'))])
  await goOn(docsAt('https://docs.example/mcp', { name: 'a', enabled: false }))
  expect(given(world, 'open')?.seen_tools).toHaveLength(1)
  await goOn(docsAt('https://docs.example/other'))
  expect(given(world, 'open')?.seen_tools).toEqual([])
})

test('a fork has seen what its original has, and what is deleted leaves nothing', async () => {
  const world = await openWorld()
  await world.report([seenTools(seenTool('a'))])
  await world.settle()
  const log = await stored.store.listEventsAfter({ sessionId: world.id, after: 0, limit: 1_000 })
  const [id, now] = [newId('sesn'), new Date().toISOString()]
  const body = { event_id: log.find(({ event }) => event.type === 'session.status_idle')?.event.id ?? '' }
  const fork = { workspaceId, id, threadId: newId('sthr'), checkpointId: newId('chkp'), now, body }
  await stored.store.forkSession({ ...fork, sessionId: world.id })
  const seen = (): unknown[] =>
    stored.raw
      .prepare('SELECT session_id, tools FROM seen_tools WHERE session_id IN (?, ?) ORDER BY session_id = ?')
      .all(world.id, id, id)
  expect(seen()).toEqual([world.id, id].map((session_id) => ({ session_id, tools: JSON.stringify([seenTool('a')]) })))
  await stored.store.deleteSession({ workspaceId, sessionId: world.id, now })
  expect(seen()).toHaveLength(1)
  await stored.store.deleteSession({ workspaceId, sessionId: id, now })
  expect(seen()).toEqual([])
})

/** Its agent has called `search`, nobody has answered yet, and the CLI is lost. */
async function askAndLose(world: SessionWorld): Promise<void> {
  const block = { type: 'tool_use', id: 'toolu_1', name: 'mcp__docs__search', input: {} }
  const message = { type: 'assistant', message: { id: 'msg', model: 'm', content: [block] } }
  const call = { tool_use_id: 'toolu_1', name: 'mcp__docs__search', input: {}, agent_id: null }
  await world.report([
    { type: 'message', message },
    { type: 'tool_call', ...call, policy: 'always_ask' },
  ])
  await world.ship()
  await world.report([crash])
}

async function allow(world: SessionWorld): Promise<void> {
  const { eventId } = (await world.turn()).calls['toolu_1'] ?? { eventId: '' }
  expect(await world.send([{ type: 'user.tool_confirmation', tool_use_id: eventId, result: 'allow' }])).toBe(true)
  await world.deliver()
}

test('a call that waited is handed to the runner with the tool that it was made of', async () => {
  const world = await openWorld()
  await world.report([seenTools(seenTool('search'))])
  await askAndLose(world)
  await allow(world)
  expect(given(world, 'run_calls')).toMatchObject({
    seen_tools: [{ server: 'docs', tools: [seenTool('search')] }],
    calls: [{ tool_use_id: 'toolu_1', digest }],
  })
})

const changes: [string, (world: SessionWorld) => Promise<void>][] = [
  ['was withheld', (world) => world.report([seenTools(seenTool('search', true))])],
  ['is elsewhere', (world) => update(world, docsAt('https://docs.example/other'))],
  ['is none of the session', (world) => update(world, { tools: [], mcp_servers: [] })],
  ['was never seen', () => Promise.resolve()],
]
test.each(changes)('a call that waited gets an error when its tool %s', async (what, change) => {
  const world = await openWorld()
  await world.report([seenTools(seenTool(what === 'was never seen' ? 'other' : 'search'))])
  await askAndLose(world)
  await change(world)
  await allow(world)
  expect(given(world, 'run_calls')).toBeUndefined()
  const results = world.published.filter((event) => event.type === 'agent.mcp_tool_result')
  expect(results).toEqual([expect.objectContaining({ is_error: true })])
  expect(JSON.stringify(results)).toContain('The call was not carried out')
  // The agent goes on.
  expect((await world.row()).status).toBe('running')
})
