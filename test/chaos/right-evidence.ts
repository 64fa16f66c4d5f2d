/** A session in which everything went well, from which evidence of what went wrong is made. */
import { check } from './checker.ts'
import type { Evidence, ModelRequest, Post, SeenEvent, SessionEvidence } from './evidence.ts'

export const at = '2030-01-01T00:00:00.000Z'
export const effect = 'e-0-1-1-1'
export const event = (id: string, type: string, rest: Partial<SeenEvent> = {}): SeenEvent => ({
  id,
  type,
  processed_at: at,
  ...rest,
})
export const text = (words: string): unknown => [{ type: 'text', text: words }]

export const input = event('m1', 'user.message', { content: text('Work 0.1\n::text') })
export const running = event('r1', 'session.status_running')
export const call = event('c1', 'agent.tool_use', { input: { command: `echo ${effect}` } })
export const result = event('t1', 'agent.tool_result', { tool_use_id: 'c1', is_error: false, content: text(effect) })
export const custom = event('k1', 'agent.custom_tool_use', { input: { effect: 'e-0-1-2-1' } })
export const asks = event('i0', 'session.status_idle', { stop_reason: { type: 'requires_action', event_ids: ['k1'] } })
export const answer = event('a1', 'user.custom_tool_result', {
  custom_tool_use_id: 'k1',
  content: text('answer to k1'),
})
export const done = event('d1', 'agent.message', { content: text('Done with Work 0.1 after 1 prompts') })
export const idle = event('i1', 'session.status_idle', { stop_reason: { type: 'end_turn' } })
export const rescheduled = event('x1', 'session.status_rescheduled')
export const exhausted = event('x2', 'session.error', { error: { retry_status: { type: 'exhausted' } } })
export const log: readonly SeenEvent[] = [input, running, call, result, custom, asks, answer, done, idle]

export const posts: readonly Post[] = [
  {
    key: 'p1',
    kind: 'message',
    about: 'Work 0.1',
    answers: [
      { status: 200, ids: ['m1'] },
      { status: 200, ids: ['m1'] },
    ],
  },
  { key: 'p2', kind: 'custom_result', about: 'k1', answers: [{ status: 200, ids: ['a1'] }] },
]
export const requests: readonly ModelRequest[] = [
  { n: 1, prompt: 'Work 0.1', step: 0, lastUser: 'Work 0.1', results: '' },
  { n: 2, prompt: 'Work 0.1', step: 1, lastUser: effect, results: effect },
  { n: 3, prompt: 'Work 0.1', step: 2, lastUser: 'answer to k1', results: 'answer to k1' },
]

/** What the checker says about it, changed. */
export function found(change: Partial<SessionEvidence> = {}, rest: Partial<Evidence> = {}): string[] {
  const finalList = change.finalList ?? log
  const session: SessionEvidence = {
    id: 's',
    policy: 'continue',
    status: 'idle',
    posts,
    lists: [finalList],
    streams: [finalList.slice(1)],
    resumed: [
      { after: null, events: finalList.slice(0, 3) },
      { after: finalList[2]?.id ?? null, events: finalList.slice(3) },
    ],
    forks: [],
    sdkNumbers: [1, 2, 3],
    effects: { sbx: [effect] },
    ...change,
    finalList,
  }
  const violations = check({ sessions: [session], modelRequests: requests, leftovers: [], ...rest })
  return violations.map(({ rule, what }) => `${rule}: ${what}`)
}

/** The log with some events replaced by others. */
export const withInstead = (old: SeenEvent, ...fresh: SeenEvent[]): SeenEvent[] =>
  log.flatMap((one) => (one === old ? fresh : [one]))
