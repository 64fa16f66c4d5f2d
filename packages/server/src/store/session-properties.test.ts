/** Sessions under random orders of client events, runner reports, losses and changes of server: what must hold holds after every step. */
import type { Report } from '@berth/protocol'
import type { ClientEvent } from '@berth/protocol/api/client-event'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openStored, type StoredPlaces } from '../../test/open-stored.ts'
import { Invariants } from '../../test/session-invariants.ts'
import { policies, seenTool, seenTools } from '../../test/session-places.ts'
import { SessionWorld } from '../../test/session-world.ts'
import { idle, unpaid } from '../../test/reports.ts'

let stored: StoredPlaces
beforeAll(async () => void (stored = await openStored()))
afterAll(() => stored[Symbol.asyncDispose]())

/** One of the calls that wait; or one that never was. */
const pick = fc.constantFrom(0, 1, 2)
const clientEvent = fc.oneof(
  { weight: 4, arbitrary: fc.constant('message' as const) },
  { weight: 1, arbitrary: fc.constant('interrupt' as const) },
  { weight: 2, arbitrary: fc.record({ confirm: pick, result: fc.constantFrom('allow' as const, 'deny' as const) }) },
  { weight: 2, arbitrary: fc.record({ answer: pick }) },
)
type Sent = typeof clientEvent extends fc.Arbitrary<infer T> ? T : never

const reported = fc.constantFrom(
  'start',
  'end',
  'cut',
  'text',
  'ask',
  'see',
  'change',
  'askMcp',
  'custom',
  'read',
  'reach',
  'result',
  'active',
  'idle',
  'over',
  'retry',
  'crash',
  'unstartable',
  'closed',
  'refused',
  'unpaid',
  'take',
)
type Reported = typeof reported extends fc.Arbitrary<infer T> ? T : never

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ send: fc.array(clientEvent, { minLength: 1, maxLength: 3 }) }) },
  { weight: 6, arbitrary: fc.constant('deliver' as const) },
  {
    weight: 14,
    arbitrary: fc.record({ report: fc.array(reported, { minLength: 1, maxLength: 4 }), again: fc.nat({ max: 3 }) }),
  },
  { weight: 3, arbitrary: fc.constantFrom('ship' as const, 'beginCall' as const, 'runCalls' as const) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'lose' as const,
      'park' as const,
      'limit' as const,
      'takeOver' as const,
      'resume' as const,
    ),
  },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

test('a session keeps its promises under any order of events, and comes to rest when all behave', async () => {
  const steps = fc.array(step, { maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...policies), steps, async (policy, todo) => {
      const world = await SessionWorld.create(stored, stored.places, policy)
      const invariants = new Invariants(stored.raw, world.id)
      for (const next of todo) {
        await take(world, next)
        expect(invariants.check()).toEqual([])
      }
      if (policy !== 'rerun') expect(repeated(world)).toEqual([])
      expect(world.repeatedCalls).toEqual([])
      await world.settle()
      expect(invariants.check()).toEqual([])
      expect((await world.row()).status).toBe('idle')
      await world.archive()
      expect(invariants.check()).toEqual([])
      expectPublishedAsListed(world)
    }),
    { numRuns: 150 },
  )
})

const asking: Step[] = [
  { send: ['message'] },
  'deliver',
  { report: ['take', 'see', 'start', 'ask', 'askMcp', 'custom', 'end', 'reach'], again: 0 },
  'ship',
]

test('calls that wait are kept through losses, and none is carried out twice', async () => {
  const loss = fc.constantFrom<Step>({ report: ['crash'], again: 0 }, 'lose', 'park')
  const verdict = fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const)
  const answers = fc
    .tuple(verdict, verdict)
    .chain(([one, other]) =>
      fc.shuffledSubarray<Sent>([{ confirm: 0, result: one }, { confirm: 0, result: other }, { answer: 0 }], {
        minLength: 3,
      }),
    )
    .map((sent) => sent.map((event): Step => ({ send: [event] })))
  const between = fc.array(loss, { maxLength: 1 })
  const work = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom<Step>('deliver', 'beginCall') },
    { weight: 1, arbitrary: fc.constant<Step>('runCalls') },
    { weight: 2, arbitrary: loss },
  )
  await fc.assert(
    fc.asyncProperty(loss, answers, between, fc.array(work, { maxLength: 12 }), async (first, sent, again, then) => {
      const world = await SessionWorld.create(stored, stored.places, 'continue')
      const invariants = new Invariants(stored.raw, world.id)
      for (const next of asking) await take(world, next)
      expect(Object.keys((await world.turn()).calls)).toHaveLength(3)
      await take(world, first)
      expect(Object.keys((await world.turn()).calls)).toHaveLength(3)
      for (const next of [...sent.slice(0, 1), ...again, ...sent.slice(1), ...then]) {
        await take(world, next)
        expect(invariants.check()).toEqual([])
      }
      expect(world.repeatedCalls).toEqual([])
      expect(doubleResults(world)).toEqual([])
      await world.settle()
      expect(invariants.check()).toEqual([])
      expect(doubleResults(world)).toEqual([])
    }),
    { numRuns: 60 },
  )
})

/** Calls with more than one result. */
function doubleResults(world: SessionWorld): string[] {
  const ended = world.published.flatMap((event) => {
    if (event.type === 'agent.mcp_tool_result') return [event.mcp_tool_use_id]
    return event.type === 'agent.tool_result' ? [event.tool_use_id] : []
  })
  return ended.filter((id, index) => ended.indexOf(id) !== index)
}

test('frames that come again change nothing, nor do those of a server that has lost its lease, nor those behind a gap', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (todo) => {
      const world = await SessionWorld.create(stored, stored.places, 'continue')
      for (const next of todo) await take(world, next)
      const before = everything(world)
      expect((await world.commit(world.frames))?.events ?? []).toEqual([])
      expect(everything(world)).toEqual(before)
      const [next] = toReports(world, ['text'], [])
      if (world.frames.length === 0 || next === undefined) return
      const { epoch } = world
      const fresh = { seq: world.frames.length + 1, report: next }
      await expect(world.commit([fresh], epoch - 1)).rejects.toThrow('this server acts under')
      await expect(world.commit([{ ...fresh, seq: fresh.seq + 1 }])).rejects.toThrow(`came after ${fresh.seq - 1}`)
      expect(everything(world)).toEqual(before)
    }),
    { numRuns: 40 },
  )
})

async function take(world: SessionWorld, next: Step): Promise<void> {
  if (typeof next === 'string') {
    await world[next]()
    return
  }
  if ('send' in next) {
    const waiting = Object.values((await world.turn()).calls)
    await world.send(
      next.send.map((event) =>
        toEvent(
          event,
          waiting.filter(({ answer }) => answer === null),
        ),
      ),
    )
    return
  }
  for (const kind of next.report) {
    if (kind === 'take') await world.takeInput()
    else await world.report(toReports(world, [kind], Object.entries((await world.turn()).calls)), next.again)
  }
}

function toEvent(sent: Sent, waiting: readonly { eventId: string; kind: string }[]): ClientEvent {
  if (sent === 'message') return { type: 'user.message', content: [{ type: 'text', text: 'Go on.' }] }
  if (sent === 'interrupt') return { type: 'user.interrupt' }
  const nth = (isCustom: boolean, n: number) =>
    waiting.filter((call) => (call.kind === 'custom') === isCustom)[n]?.eventId ?? 'sevt_never'
  if ('answer' in sent) return { type: 'user.custom_tool_result', custom_tool_use_id: nth(true, sent.answer) }
  return { type: 'user.tool_confirmation', tool_use_id: nth(false, sent.confirm), result: sent.result }
}

type OpenCalls = readonly (readonly [string, { readonly kind: string; readonly gate: string }])[]

function toReports(world: SessionWorld, kinds: readonly Exclude<Reported, 'take'>[], calls: OpenCalls): Report[] {
  return kinds.map((kind) => toReport(world, kind, calls))
}

const exited = { type: 'exited', exit_code: 1, signal: null, detail: '' } as const
const request = { type: 'model_request', model: 'm' } as const
const usage = { input_tokens: 1, output_tokens: 1 }

const cliNames = new Map([
  ['custom', 'mcp__custom__lookup'],
  ['mcp', 'mcp__docs__search'],
])

function toReport(world: SessionWorld, kind: Exclude<Reported, 'take'>, calls: OpenCalls): Report {
  const system = (rest: Record<string, unknown>): Report => ({ type: 'message', message: { type: 'system', ...rest } })
  switch (kind) {
    case 'start':
      return { ...request, phase: 'start', message_id: world.name('msg'), usage: null, stop_reason: null }
    case 'end':
      return { ...request, phase: 'end', message_id: 'msg', usage, stop_reason: 'end_turn' }
    case 'cut':
      return { ...request, phase: 'end', message_id: 'msg', usage: null, stop_reason: null }
    case 'text':
      return said({ type: 'text', text: world.name('text') })
    case 'ask':
      return said({ type: 'tool_use', id: world.name('toolu'), name: 'Bash', input: { command: 'ls' } })
    case 'see':
      return seenTools(seenTool('search'))
    case 'change':
      return seenTools(seenTool('search', true))
    case 'askMcp':
      return said({ type: 'tool_use', id: world.name('toolu'), name: 'mcp__docs__search', input: {} })
    case 'read':
      return said({ type: 'tool_use', id: world.name('toolu'), name: 'Read', input: {} })
    case 'custom':
      return said({ type: 'tool_use', id: world.name('toolu'), name: 'mcp__custom__lookup', input: {} })
    case 'reach': {
      const [id, call] = calls[0] ?? [world.name('toolu'), { kind: 'builtin', gate: 'ask' }]
      const builtin = call.gate === 'ask' ? 'Bash' : 'Read'
      const name = cliNames.get(call.kind) ?? builtin
      return { type: 'tool_call', tool_use_id: id, name, input: {}, policy: 'always_allow', agent_id: null }
    }
    case 'result': {
      const block = { type: 'tool_result', tool_use_id: calls[0]?.[0] ?? 'toolu_never', content: 'done' }
      return { type: 'message', message: { type: 'user', message: { content: [block] } } }
    }
    case 'active':
      return system({ subtype: 'session_state_changed', state: 'running' })
    case 'idle':
      return idle
    case 'over':
      return { type: 'message', message: { type: 'result', subtype: 'success', is_error: false } }
    case 'retry':
      return system({ subtype: 'api_retry', error_status: 529 })
    case 'crash':
      return { ...exited, reason: 'crashed' }
    case 'unstartable':
      return { ...exited, reason: 'start_failed' }
    case 'closed':
      return { ...exited, reason: 'closed' }
    case 'unpaid':
      return unpaid
    case 'refused':
      return { type: 'refused', command: 'input', detail: 'no' }
    default:
      return kind satisfies never
  }
}

function said(block: Record<string, unknown>): Report {
  return { type: 'message', message: { type: 'assistant', message: { id: 'msg', model: 'm', content: [block] } } }
}

/** Inputs that were handed over although the agent had taken them. */
function repeated({ handed, taken }: SessionWorld): string[] {
  return [...taken].filter((uuid) => handed.filter((one) => one === uuid).length > 1 && !redelivered(handed, uuid))
}

function redelivered(handed: readonly string[], uuid: string): boolean {
  // Handed over again right away: it was taken at the last of these times only.
  const first = handed.indexOf(uuid)
  return handed.slice(first, handed.lastIndexOf(uuid) + 1).every((one) => one === uuid)
}

function everything(world: SessionWorld): unknown[] {
  const tables = ['events', 'inputs', 'outbox', 'sdk_messages', 'seen_tools', 'transcripts']
  const rows = tables.flatMap((table) =>
    stored.raw.prepare(`SELECT * FROM ${table} WHERE session_id = ?`).all(world.id),
  )
  const session = stored.raw.prepare('SELECT * FROM sessions WHERE id = ?').get(world.id)
  return [...rows, { ...session, updated_at: '' }]
}

/** Watchers see the list as it grows: what has its place, in order, each once. */
function expectPublishedAsListed(world: SessionWorld): void {
  const rows = stored.raw
    .prepare('SELECT body FROM events WHERE session_id = ? AND place IS NOT NULL ORDER BY place')
    .all(world.id)
  const listed = rows.map(({ body }) => body)
  const published = world.published.filter(({ processed_at }) => processed_at !== null)
  expect(published.map((event) => JSON.stringify(event))).toEqual(listed)
}
