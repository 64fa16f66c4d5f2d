/** Each rule against evidence that is wrong on purpose; the evidence it is made from is right. */
import { describe, expect, test } from 'vitest'
import type { SeenEvent } from './evidence.ts'
import {
  answer,
  call,
  custom,
  done,
  effect,
  event,
  exhausted,
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
  asks,
} from './right-evidence.ts'

test('what is right is found right', () => {
  expect(found()).toEqual([])
})

describe('inputs', () => {
  test.each<[string, string[], RegExp]>([
    ['accepted and lost', found({ finalList: log.slice(1) }), /m1 was accepted and is listed 0 times/],
    [
      'listed twice',
      found({ finalList: [input, ...log], lists: [], streams: [] }),
      /m1 was accepted and is listed 2 times/,
    ],
    [
      'never processed',
      found({ finalList: withInstead(input, { ...input, processed_at: null }) }),
      /m1 was never processed/,
    ],
    ['neither answered nor given up', found({ finalList: withInstead(done) }), /neither answered nor given up/],
    [
      'answered twice without a cut',
      found({ finalList: withInstead(done, done, { ...done, id: 'd2' }) }),
      /answered 2 times, cut 0 times/,
    ],
    [
      'handed over twice',
      found({ finalList: withInstead(done, { ...done, content: text('Done with Work 0.1 after 2 prompts') }) }),
      /has 2 prompts, 1 were accepted/,
    ],
    [
      'lost from the conversation',
      found({ finalList: withInstead(done, { ...done, content: text('Done with Work 0.1 after 0 prompts') }) }),
      /has 0 prompts of 1/,
    ],
    [
      'never asked of the model',
      found({}, { modelRequests: requests.map((one) => ({ ...one, prompt: 'other' })) }),
      /answered without a request/,
    ],
    [
      'accepted under no answer',
      found({ finalList: [...log, { ...input, id: 'm2', content: text('Work 0.2') }] }),
      /Work 0\.2: is listed as m2/,
    ],
    [
      'answered otherwise when repeated',
      found({ posts: posts.map((one) => ({ ...one, answers: [...one.answers, { status: 200, ids: ['m9'] }] })) }),
      /POST p1 was answered 200 m1, then 200 m9/,
    ],
    [
      'never answered',
      found({ posts: [...posts, { key: 'p3', kind: 'message', about: 'Work 0.2', answers: [] }] }),
      /p3 .*never answered/,
    ],
  ])('%s', (_, violations, expected) => {
    expect(violations).toEqual(expect.arrayContaining([expect.stringMatching(/^inputs: /)]))
    expect(violations.join('\n')).toMatch(expected)
  })

  test('answered twice about a cut, or given up aloud, is right', () => {
    expect(found({ finalList: withInstead(done, done, rescheduled, { ...done, id: 'd2' }) })).toEqual([])
    const givenUp = { ...idle, stop_reason: { type: 'retries_exhausted' } }
    expect(found({ finalList: [...log.slice(0, -2), exhausted, givenUp] })).toEqual([])
  })
})

describe('log', () => {
  const other = { ...result, content: text('other') }
  test.each<[string, string[], RegExp]>([
    [
      'an event that changed',
      found({ lists: [withInstead(result, other)] }),
      /listing 1: agent.tool_result t1 has changed/,
    ],
    [
      'an event of a stream that changed',
      found({ streams: [[result, custom].map((one) => ({ ...one, input: 1 }))] }),
      /stream 1: .*has changed/,
    ],
    ['an event that is gone', found({ streams: [[event('g1', 'agent.message')]] }), /g1 is listed no more/],
    [
      'another order',
      found({ lists: [[input, running, result, call]] }),
      /listing 1: .*t1 was seen in place 3 and is now in place 4/,
    ],
    [
      'a gap in a stream',
      found({ streams: [[running, result]] }),
      /stream 1: .*t1 was seen in place 3 and is now in place 4/,
    ],
    ['an event twice', found({ finalList: [...log, idle] }), /an event twice/],
  ])('%s', (_, violations, expected) => {
    expect(violations.filter((one) => one.startsWith('log: ')).join('\n')).toMatch(expected)
  })

  test('a waiting input that took its place has not changed', () => {
    const waiting = { ...input, processed_at: null }
    expect(found({ lists: [[waiting]], streams: [[waiting, running, call]] })).toEqual([])
  })
})

describe('sdk_messages', () => {
  test.each([[[1, 3]], [[2, 3]], [[1, 1, 2]]])('numbers %j', (sdkNumbers) => {
    expect(found({ sdkNumbers })).toEqual([expect.stringMatching(/^sdk_messages: message \d has the number \d/)])
  })
})

describe('effects', () => {
  const again = { ...call, id: 'c2' }
  const resultAgain = { ...result, id: 't2', tool_use_id: 'c2' }
  const failed = (why: string): SeenEvent => ({ ...result, is_error: true, content: text(why) })
  const twice = { sbx: [effect], other: [effect] }

  test('an effect that happened twice', () => {
    expect(found({ effects: twice })).toEqual([
      `effects: ${effect} happened 2 times; 1 calls say that they may have run`,
    ])
  })

  test('an effect of a call that is said not to have run', () => {
    expect(found({ finalList: withInstead(result, failed('It did not run.')) })).toEqual([
      expect.stringContaining('0 calls say'),
    ])
  })

  test('an effect that nobody asked for', () => {
    expect(found({ effects: { sbx: [effect, 'e-0-9-9-9'] } })).toEqual([
      expect.stringContaining('e-0-9-9-9 happened 1 times'),
    ])
  })

  test('a call that is made again although it ran', () => {
    const finalList = withInstead(result, result, again, resultAgain)
    expect(found({ finalList, effects: twice })).toEqual([`effects: ${effect} was asked for again although c1 had run`])
  })

  test('made again with an unknown outcome in between, in its result or in what the model was told, is right', () => {
    const finalList = withInstead(result, failed('Its outcome is unknown.'), again, resultAgain)
    expect(found({ finalList, effects: twice })).toEqual([])
    const told = { n: 9, prompt: 'Work 0.1', step: 1, lastUser: `Their outcome is unknown: ${effect}`, results: '' }
    const silent = withInstead(result, result, again, resultAgain)
    expect(found({ finalList: silent, effects: twice }, { modelRequests: [...requests, told] })).toEqual([])
  })
})

describe('ending', () => {
  test.each<[string, string[], RegExp]>([
    ['still running', found({ status: 'running' }), /is running long after the last kill/],
    [
      'retries exhausted in silence',
      found({ finalList: withInstead(idle, { ...idle, stop_reason: { type: 'retries_exhausted' } }) }),
      /without a session.error/,
    ],
    [
      'idle for no reason',
      found({ finalList: withInstead(idle, { ...idle, stop_reason: null }) }),
      /idle because of nothing/,
    ],
    [
      'waiting for an answer for ever',
      found({ finalList: [...log, { ...asks, id: 'i9' }] }),
      /still waits for an answer/,
    ],
    ['a call without a result', found({ finalList: withInstead(result) }), /the call c1 has no result/],
    [
      'a call with two results',
      found({ finalList: withInstead(result, result, { ...result, id: 't2' }) }),
      /the call c1 has 2 results/,
    ],
  ])('%s', (_, violations, expected) => {
    expect(violations.filter((one) => one.startsWith('ending: ')).join('\n')).toMatch(expected)
  })
})

describe('answers', () => {
  test('one that counts twice', () => {
    expect(found({ finalList: withInstead(answer, answer, { ...answer, id: 'a2' }) })).toEqual([
      'answers: k1 is answered 2 times',
    ])
  })

  test('one that never reached the model, unless the turn was cut', () => {
    const modelRequests = requests.slice(0, 2)
    expect(found({}, { modelRequests })).toEqual(['answers: the answer to k1 never reached the model'])
    expect(found({ finalList: withInstead(done, rescheduled, done) }, { modelRequests })).toEqual([])
  })
})

describe('forks', () => {
  const place = log.indexOf(idle)
  const own = (one: SeenEvent): SeenEvent => ({ ...one, id: `f-${one.id}` })
  const copied = log.slice(0, place + 1).map(own)
  const message = event('f2', 'user.message', { content: text('Fork of i1\n::text') })
  const told = (count: number): SeenEvent =>
    event('f3', 'agent.message', { content: text(`Done with Fork of i1 after ${count} prompts`) })
  const fork = (turn: readonly SeenEvent[], from: readonly SeenEvent[] = copied) => ({
    forks: [{ id: 's2', at: idle.id, about: 'Fork of i1', copied: from, finalList: [...from, ...turn] }],
  })

  test('one that has the log up to its place and goes on', () => {
    expect(found(fork([message, told(2), { ...idle, id: 'f4' }]))).toEqual([])
  })

  test.each<[string, string[], RegExp]>([
    [
      'an event is missing',
      found(fork([message, told(2)], copied.slice(1))),
      /event 1 is agent\.|event 1 is session\./,
    ],
    ['there is one too many', found(fork([message, told(2)], [...copied, message])), /has \d+ events/],
    ['its message is lost', found(fork([])), /0 messages are listed behind the fork/],
    ['its message is there twice', found(fork([message, message, told(2)])), /2 messages are listed/],
    ['it is not answered', found(fork([message])), /neither answered nor given up/],
    ['it is answered twice', found(fork([message, told(2), told(2)])), /was answered 2 times/],
    ['its conversation has too much', found(fork([message, told(3)])), /3 prompts, 2 were accepted/],
    ['its conversation has too little', found(fork([message, told(1)])), /has 1 prompts of 2/],
  ])('%s', (_, violations, expected) => {
    expect(violations.join('\n')).toMatch(expected)
    expect(violations.every((one) => one.startsWith('forks: '))).toBe(true)
  })
})

test('machine: what is left is a violation', () => {
  expect(found({}, { leftovers: ['mount /tmp/x'] })).toEqual(['machine: mount /tmp/x'])
})
