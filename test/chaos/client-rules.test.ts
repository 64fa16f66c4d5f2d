/** The rules about what clients do besides talking: interrupt, deny, resume, live with another policy; and what is said of a run that broke one. */
import { describe, expect, test } from 'vitest'
import { describeOutcome } from './describe.ts'
import type { Evidence, Post, SeenEvent, SessionEvidence } from './evidence.ts'
import {
  answer,
  asks,
  custom,
  call,
  effect,
  event,
  found,
  idle,
  input,
  log,
  posts,
  requests,
  rescheduled,
  result,
  running,
  text,
  withInstead,
} from './right-evidence.ts'

describe('interrupts', () => {
  const interrupt = event('n1', 'user.interrupt')
  const stopped = [input, running, call, interrupt, { ...result, is_error: true }, idle]
  const quiet = { effects: { sbx: [effect] }, posts: posts.slice(0, 1) }

  test('a turn that was interrupted needs no answer', () => {
    expect(found({ ...quiet, finalList: stopped })).toEqual([])
  })

  test('a waiting message that an interrupt ends needs none either', () => {
    const later = { ...input, id: 'm2', content: text('Work 0.2') }
    const post: Post = { key: 'p9', kind: 'message', about: 'Work 0.2', answers: [{ status: 200, ids: ['m2'] }] }
    const finalList = [...log, interrupt, later, { ...idle, id: 'i2' }]
    expect(found({ finalList, posts: [...posts, post] })).toEqual([])
    expect(found({ finalList: finalList.filter((one) => one !== interrupt), posts: [...posts, post] })).toEqual([
      expect.stringContaining('Work 0.2: was neither answered'),
    ])
  })

  test('one that is cut and goes on nevertheless', () => {
    const again = event('c2', 'agent.tool_use', { input: { command: 'ls' } })
    const cut = event('x4', 'session.error', { error: { type: 'unknown_error', retry_status: { type: 'retrying' } } })
    const finalList = [input, running, interrupt, cut, rescheduled, again, { ...result, tool_use_id: 'c2' }, idle]
    const asked = { type: 'model_request_failed_error', retry_status: { type: 'retrying' } }
    const retried = finalList.map((one) => (one === cut ? { ...cut, error: asked } : one))
    expect(found({ ...quiet, finalList: retried, effects: {} })).toEqual([])
    expect(found({ ...quiet, finalList, effects: {} })).toEqual([
      'interrupts: the turn of n1 was cut, and then went on with c2',
    ])
  })

  test('an answer that it overtakes need not reach the model', () => {
    const finalList = [input, running, interrupt, custom, asks, answer, idle]
    expect(found({ finalList, effects: {} }, { modelRequests: requests.slice(0, 2) })).toEqual([])
  })

  test('one that is accepted and lost', () => {
    const post: Post = { key: 'p9', kind: 'interrupt', about: 'Work 0.1', answers: [{ status: 200, ids: ['n1'] }] }
    expect(found({ posts: [...posts, post] })).toEqual([
      expect.stringContaining('n1 was accepted and is listed 0 times'),
    ])
  })
})

describe('denials', () => {
  const no = event('f1', 'user.tool_confirmation', { tool_use_id: 'c1', result: 'deny' })
  const refused = { ...result, is_error: true, content: text('Not this one.') }
  const finalList = log.flatMap((one) => (one === result ? [no, refused] : [one]))

  test('a call that was denied and did not run is right', () => {
    expect(found({ finalList, effects: {} })).toEqual([])
  })

  test('one that ran all the same', () => {
    expect(found({ finalList })).toEqual([`effects: ${effect} happened 1 times; 0 calls say that they may have run`])
  })

  test('one that is denied twice', () => {
    const twice = finalList.flatMap((one) => (one === no ? [no, { ...no, id: 'f2' }] : [one]))
    expect(found({ finalList: twice, effects: {} })).toEqual(['answers: c1 is answered 2 times'])
  })
})

describe('policies', () => {
  const again = { ...call, id: 'c2' }
  const resultAgain = { ...result, id: 't2', tool_use_id: 'c2' }
  const finalList = withInstead(result, result, rescheduled, again, resultAgain)
  const twice = { sbx: [effect, effect] }

  test('a turn that begins anew repeats its effects; one that goes on does not', () => {
    expect(found({ policy: 'rerun', finalList, effects: twice })).toEqual([])
    expect(found({ finalList, effects: twice })).toEqual([expect.stringContaining('was asked for again')])
  })

  test('a turn that was not cut does not begin anew', () => {
    const uncut = finalList.filter((one) => one !== rescheduled)
    expect(found({ policy: 'rerun', finalList: uncut, effects: twice })).toEqual([
      expect.stringContaining('was asked for again'),
    ])
  })
})

describe('resume', () => {
  const parts = (...ends: [string | null, SeenEvent[]][]): string[] =>
    found({ resumed: ends.map(([after, events]) => ({ after, events })) })

  test.each<[string, string[], RegExp]>([
    ['an event that is missing', parts([null, log.slice(0, 3)], ['c1', log.slice(4)]), /in place 5, not 4/],
    ['an event twice', parts([null, log.slice(0, 3)], ['c1', log.slice(2)]), /in place 3, not 4/],
    ['an event twice in a connection', parts([null, [input, running, running, ...log.slice(2)]]), /repeated/],
    ['another order', parts([null, [input, call, running, ...log.slice(3)]]), /out of place/],
    ['an end that never came', parts([null, log.slice(0, -1)]), /i1 and what follows never came/],
    ['nothing at all', parts(), /never came/],
  ])('%s', (_, violations, expected) => {
    expect(violations.filter((one) => one.startsWith('resume: ')).join('\n')).toMatch(expected)
  })

  test('behind an input, of which there are two copies, some may come again', () => {
    const waiting = { ...input, processed_at: null }
    expect(parts([null, [waiting, ...log.slice(0, 1)]], ['m1', [...log]])).toEqual([])
  })
})

test('a description shows what is named, and when what was killed', () => {
  const violations = [{ rule: 'inputs' as const, session: 's', what: 'Work 0.1: was neither' }]
  const session: SessionEvidence = {
    id: 's',
    policy: 'continue',
    status: 'idle',
    posts,
    lists: [],
    streams: [],
    resumed: [],
    forks: [],
    sdkNumbers: [],
    effects: {},
    finalList: log,
  }
  const evidence: Evidence = { sessions: [session], modelRequests: requests, leftovers: [] }
  const outcome = { evidence, strikes: ['12:00 killed server'], log: '{"msg":"listening"}\n' }
  const said = describeOutcome({ ...outcome, violations }).join('\n')
  expect(said).toContain('inputs: Work 0.1: was neither')
  expect(said).toMatch(/00:00:00\.000 user\.message m1 Work 0\.1/)
  expect(said).toContain('end_turn')
  expect(said).toContain('12:00 killed server')
  expect(said).not.toContain('listening')
  const stuck = { rule: 'ending' as const, session: 's', what: 'is running long after the last kill' }
  expect(describeOutcome({ ...outcome, violations: [stuck] })).toContain('{"msg":"listening"}')
})
