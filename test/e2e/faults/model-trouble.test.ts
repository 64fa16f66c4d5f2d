import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { StreamEvent } from '../../harness/event-collector.ts'
import { messagesOf, ofType, onlyOf } from '../../harness/reading.ts'
import { startTestBerth, type TestBerth } from '../../harness/test-berth.ts'

const KEY = 'sk-ant-canary-5f0e7d2a9c41'
const WRONG_KEY = 'sk-ant-wrong-3b8c60d1e7f2'

/** Every failed request is tried again once. */
async function newSession(berth: TestBerth): Promise<string> {
  return (await berth.createSessionWith({ model_retries: 1 })).id
}

/** The errors of a turn, as `type/retry status`. */
function errorsOf(turn: readonly StreamEvent[]): string[] {
  return ofType(turn, 'session.error').map(({ error }) => `${error.type}/${error.retry_status.type}`)
}

function stateChanges(turn: readonly StreamEvent[]): string[] {
  return turn.map(({ type }) => type).filter((type) => type.startsWith('session.status') || type === 'session.error')
}

/** Neither the key nor the place of the upstream is anybody's business. */
function expectNoSecrets(berth: TestBerth, events: readonly StreamEvent[]): void {
  const text = JSON.stringify(events)
  for (const secret of [KEY, WRONG_KEY, new URL(berth.model.url).host]) expect(text).not.toContain(secret)
}

describe('a model request', () => {
  let berth: TestBerth
  let id: string
  beforeAll(async () => {
    const env = { ANTHROPIC_API_KEY: KEY, BERTH_UPSTREAM_IDLE_SECONDS: '3' }
    berth = await startTestBerth({ env, requireKey: KEY })
    id = await newSession(berth)
  })
  afterAll(() => berth[Symbol.asyncDispose]())

  /** Runs the turn with the fault, and one without, which has to work. */
  async function turnWith(fault: string): Promise<StreamEvent[]> {
    const turn = await berth.runTurn(id, ['Please', fault, '::text Fine.'])
    expectNoSecrets(berth, turn)
    expect(messagesOf(await berth.runTurn(id, ['And now', '::text Here.']))).toEqual(['Here.'])
    return turn
  }

  test.each([
    ['::error 400 invalid_request_error Odd', 'model_request_failed_error', /400 Odd/],
    ['::error 400 invalid_request_error Your credit balance is too low to go on.', 'billing_error', /credit/i],
    ['::error 401 authentication_error Who are you', 'model_request_failed_error', /401.*ANTHROPIC_API_KEY/],
    ['::error 403 permission_error Not you', 'model_request_failed_error', /403.*ANTHROPIC_API_KEY/],
    ['::error 404 not_found_error model: claude-sonnet-5-5', 'model_request_failed_error', /claude-sonnet-5-5/],
    ['::error 413 request_too_large Too big', 'model_request_failed_error', /too large/i],
    ['::error 429 rate_limit_error No more today should-retry=false', 'model_rate_limited_error', /429/],
    ['::garbage', 'model_request_failed_error', /./],
  ])('answered with %s ends the turn at once', async (fault, type, message) => {
    const turn = await turnWith(fault)
    const { error } = onlyOf(turn, 'session.error')
    expect(error).toMatchObject({ type, retry_status: { type: 'exhausted' }, message: expect.stringMatching(message) })
    expect(messagesOf(turn)).toEqual([])
    expect(stateChanges(turn)).toEqual(['session.status_running', 'session.error', 'session.status_idle'])
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'retries_exhausted' })
  })

  test.each([
    ['::error 429 rate_limit_error Slow down retry-after=1', 'model_rate_limited_error'],
    ['::error 500 api_error Broken', 'model_request_failed_error'],
    ['::error 529 overloaded_error Busy', 'model_overloaded_error'],
    ['::cut 3', 'model_request_failed_error'],
    ['::stall 3', 'model_request_failed_error'],
  ])('that fails once with %s is tried again, visibly, and the turn succeeds', async (fault, type) => {
    const turn = await turnWith(`${fault} times=1`)
    expect(errorsOf(turn)).toEqual([`${type}/retrying`])
    expect(stateChanges(turn)).toEqual([
      'session.status_running',
      'session.error',
      'session.status_rescheduled',
      'session.status_running',
      'session.status_idle',
    ])
    expect(messagesOf(turn)).toEqual(['Fine.'])
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
  })

  test.each([
    ['::error 429 rate_limit_error Slow down', 'model_rate_limited_error'],
    ['::error 500 api_error Broken', 'model_request_failed_error'],
    ['::error 529 overloaded_error Busy', 'model_overloaded_error'],
    ['::cut 3', 'model_request_failed_error'],
    ['::hang', 'model_request_failed_error'],
  ])('that always fails with %s exhausts its tries', async (fault, type) => {
    const turn = await turnWith(fault)
    expect(errorsOf(turn)).toEqual([`${type}/retrying`, `${type}/exhausted`])
    expect(messagesOf(turn)).toEqual([])
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'retries_exhausted' })
  })

  test('whose answer is cut behind a text keeps the text, and the agent goes on', async () => {
    const turn = await turnWith('::cut 5 times=1')
    // Where the cut comes a moment earlier, the CLI asks again instead of going on from the text.
    const [text, ...further] = messagesOf(turn)
    expect(text).toBe('Fine.')
    expect(further.filter((more) => more !== 'Done.')).toEqual([])
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
  })

  test('is retried while the session says so, and can be interrupted meanwhile', async () => {
    await using events = await berth.watch(id)
    await berth.send(id, ['Please', '::error 429 rate_limit_error Slow down retry-after=60', '::text Fine.'])
    await events.first('session.status_rescheduled')
    expect((await berth.client.beta.sessions.retrieve(id)).status).toBe('rescheduling')
    await berth.client.beta.sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })
    const turn = await events.turn()
    expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
    expect(messagesOf(await berth.runTurn(id, ['And now', '::text Here.']))).toEqual(['Here.'])
  })
})

describe('an upstream', () => {
  test.each([
    ['without a key', { ANTHROPIC_API_KEY: '' }, /no model API key.*ANTHROPIC_API_KEY/],
    ['that cannot be reached', { ANTHROPIC_BASE_URL: 'http://127.0.0.1:9' }, /cannot be reached/],
  ])('%s is said to be so, without its secrets', async (_, env, message) => {
    await expectSaid(env, message)
  })

  test('that refuses the key is said to be so, without its secrets', async () => {
    await expectSaid({ ANTHROPIC_API_KEY: WRONG_KEY }, /401.*ANTHROPIC_API_KEY/)
  })
})

async function expectSaid(env: Readonly<Record<string, string>>, message: RegExp): Promise<void> {
  await using berth = await startTestBerth({ env: { ANTHROPIC_API_KEY: KEY, ...env }, requireKey: KEY })
  const id = await newSession(berth)
  const turn = await berth.runTurn(id, ['Please', '::text Fine.'])
  expectNoSecrets(berth, turn)
  expect(JSON.stringify(turn)).not.toContain('127.0.0.1')
  const errors = ofType(turn, 'session.error').map(({ error }) => error)
  expect(errors.at(-1)).toMatchObject({
    type: 'model_request_failed_error',
    retry_status: { type: 'exhausted' },
    message: expect.stringMatching(message),
  })
  expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'retries_exhausted' })
  expect(berth.server.log()).not.toMatch(/canary|sk-ant-wrong/)
  await berth.assertClean()
}
