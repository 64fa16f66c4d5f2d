import type Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { message, tool } from '../../harness/message.ts'
import { onlyOf } from '../../harness/reading.ts'
import { startTestBerth, type TestBerth } from '../../harness/test-berth.ts'

let berth: TestBerth
beforeAll(async () => {
  berth = await startTestBerth()
})
afterAll(() => berth[Symbol.asyncDispose]())

interface Refusal {
  readonly status?: number
  readonly type?: string
  readonly message: RegExp
}

/** What the session looks like to its clients, whole. */
async function snapshot(id: string) {
  const { usage: _usage, stats: _stats, ...session } = await berth.client.beta.sessions.retrieve(id)
  return { session, events: await berth.list(id) }
}

/** Sends a body as it is with the official client, which has to get the refusal, and finds everything as it was. */
async function expectRefused(id: string, body: unknown, refusal: Refusal): Promise<void> {
  const before = await snapshot(id)
  const { status = 400, type = 'invalid_request_error' } = refusal
  await expect(berth.client.post(`/v1/sessions/${id}/events`, { body })).rejects.toMatchObject({
    status,
    type,
    requestID: expect.stringMatching(/^req_/),
    error: { type: 'error', error: { type, message: expect.stringMatching(refusal.message) } },
  })
  expect(await snapshot(id)).toEqual(before)
}

const text = { type: 'text', text: 'Hello' }
const good = { type: 'user.message', content: [text] }
const one = (event: object) => ({ events: [event] })
const content = (block: object) => one({ type: 'user.message', content: [block] })
const image = (source: object) => content({ type: 'image', source })
const pdf = (source: object) => content({ type: 'document', source })
const unsupported = { status: 501, type: 'api_error' }

describe('a body that is not an input', () => {
  let id: string
  beforeAll(async () => {
    ;({ id } = await berth.createSession())
  })

  test.each<[string, unknown, RegExp]>([
    ['no events', {}, /events: /],
    ['no event', { events: [] }, /events: /],
    ['events that are no list', { events: good }, /events: /],
    ['an event that is no object', { events: ['hello'] }, /events\.0: /],
    ['an event without a type', one({ content: [text] }), /events\.0\.type: /],
    ['an event of an unknown type', one({ ...good, type: 'user.shout' }), /events\.0\.type: .*user\.message/],
    ['an event that only the server makes', one({ type: 'agent.message', content: [text] }), /events\.0\.type: /],
    ['an unknown field of the body', { ...one(good), stream: true }, /stream: unknown field/],
    ['an unknown field of an event', one({ ...good, priority: 1 }), /events\.0\.priority: unknown field/],
    ['the id of an event', one({ ...good, id: 'sevt_mine' }), /events\.0\.id: unknown field/],
    ['an unknown field of a block', content({ ...text, bold: true }), /events\.0\.content\.0\.bold: unknown field/],
    [
      'an unknown field of a source',
      image({ type: 'base64', media_type: 'image/png', data: 'AAAA', name: 'x' }),
      /events\.0\.content\.0\.source\.name: unknown field/,
    ],
    ['no content', one({ type: 'user.message' }), /events\.0\.content: is required/],
    ['empty content', one({ ...good, content: [] }), /events\.0\.content: /],
    ['content that is text', one({ ...good, content: 'Hello' }), /events\.0\.content: /],
    ['a text that is a number', content({ type: 'text', text: 7 }), /events\.0\.content\.0\.text: /],
    ['an empty text', content({ type: 'text', text: '' }), /events\.0\.content\.0\.text: must not be empty/],
    [
      'half a character',
      content({ type: 'text', text: 'a\ud800' }),
      /events\.0\.content\.0\.text: must be well-formed/,
    ],
    ['a block of an unknown type', content({ type: 'video' }), /events\.0\.content\.0\.type: /],
    ['a redacted block', content({ type: 'redacted' }), /redacted/],
    [
      'a media type that no model reads',
      image({ type: 'base64', media_type: 'image/tiff', data: 'AAAA' }),
      /events\.0\.content\.0\.source\.media_type: .*image\/png/,
    ],
    [
      'data that is not base64',
      image({ type: 'base64', media_type: 'image/png', data: '!!!!' }),
      /events\.0\.content\.0\.source\.data: must be base64/,
    ],
    [
      'a verdict that is neither',
      one({ type: 'user.tool_confirmation', tool_use_id: 'sevt_1', result: 'perhaps' }),
      /events\.0\.result: .*allow.*deny/,
    ],
    [
      'a reason for allowing',
      one({ type: 'user.tool_confirmation', tool_use_id: 'sevt_1', result: 'allow', deny_message: 'No.' }),
      /events\.0\.deny_message: is only allowed when result is deny/,
    ],
    ['a tool result outside of self_hosted', one({ type: 'user.tool_result', tool_use_id: 'sevt_1' }), /self_hosted/],
    ['a confirmation for nothing', one(allow('sevt_1')), /tool_use_id: no call sevt_1/],
    ['a result for nothing', one(result('sevt_1')), /custom_tool_use_id: no call sevt_1/],
    [
      'an interrupt of a foreign thread',
      one({ type: 'user.interrupt', session_thread_id: 'sthr_foreign' }),
      /session_thread_id: no thread sthr_foreign/,
    ],
  ])('%s', async (_, body, refusal) => {
    await expectRefused(id, body, { message: refusal })
  })

  test.each<[string, unknown, RegExp]>([
    ['an image by URL', image({ type: 'url', url: 'https://example.com/a.png' }), /image .*url/],
    ['an image by file', image({ type: 'file', file_id: 'file_1' }), /image .*file/],
    ['a document by URL', pdf({ type: 'url', url: 'https://example.com/a.pdf' }), /document .*url/],
    ['a document by file', pdf({ type: 'file', file_id: 'file_1' }), /document .*file/],
    ['a system message', one({ type: 'system.message', content: [text] }), /system\.message/],
    [
      'an outcome',
      one({ type: 'user.define_outcome', description: 'd', rubric: { type: 'text', content: 'r' } }),
      /user\.define_outcome/,
    ],
  ])('%s is of the profile, and not supported yet', async (_, body, refusal) => {
    await expectRefused(id, body, { ...unsupported, message: refusal })
  })

  test.each<[string, object, number]>([
    ['malformed', { ...good, content: [{ type: 'text' }] }, 400],
    ['not allowed now', allow('sevt_1'), 400],
    ['not supported', { type: 'system.message', content: [text] }, 501],
  ])('a batch stores nothing when its last event is %s', async (_, bad, status) => {
    const before = await snapshot(id)
    await expect(
      berth.client.post(`/v1/sessions/${id}/events`, { body: { events: [good, good, bad] } }),
    ).rejects.toMatchObject({ status })
    expect(await snapshot(id)).toEqual(before)
  })

  test.each([
    ['cut JSON', '{"events":[', /JSON/i],
    ['no JSON', 'hello', /JSON/i],
    ['nothing', '', /JSON/],
    ['a list', '[]', /body: /],
    ['null', 'null', /body: /],
    ['a key twice as deep as allowed', `${'['.repeat(300)}${']'.repeat(300)}`, /nested/],
  ])('%s', async (_, body, refusal) => {
    const before = await snapshot(id)
    const headers = { 'content-type': 'application/json' }
    const answer = await berth.fetch(`/v1/sessions/${id}/events`, { method: 'POST', headers, body })
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({
      type: 'error',
      error: { type: 'invalid_request_error', message: expect.stringMatching(refusal) },
      request_id: answer.headers.get('request-id'),
    })
    expect(await snapshot(id)).toEqual(before)
  })

  test('33 MiB', async () => {
    const body = content({ type: 'text', text: 'x'.repeat(33 * 1024 * 1024) })
    await expectRefused(id, body, { status: 413, type: 'request_too_large', message: /33554432 bytes/ })
  })
})

function allow(tool_use_id: string): Anthropic.Beta.Sessions.BetaManagedAgentsUserToolConfirmationEventParams {
  return { type: 'user.tool_confirmation', tool_use_id, result: 'allow' }
}

function result(custom_tool_use_id: string): Anthropic.Beta.Sessions.BetaManagedAgentsUserCustomToolResultEventParams {
  return { type: 'user.custom_tool_result', custom_tool_use_id, content: [{ type: 'text', text: 'r' }] }
}

describe('an input that the session does not take now', () => {
  test('a message while an approval is pending, an answer to another call, an answer of the wrong kind', async () => {
    const agent = await berth.createAgent({
      tools: [
        {
          type: 'agent_toolset_20260401',
          configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }],
        },
        { type: 'custom', name: 'lookup', description: 'Looks up.', input_schema: { type: 'object', properties: {} } },
      ],
    })
    const { id } = await berth.createSession({ agent: agent.id })
    const turn = await berth.runTurn(id, ['Ask', tool('Bash', { command: 'date' }), tool('mcp__custom__lookup')])
    const asked = onlyOf(turn, 'agent.tool_use').id
    const custom = onlyOf(turn, 'agent.custom_tool_use').id
    await expectRefused(id, one(good), { message: new RegExp(`waits for an answer to .*${asked}`) })
    await expectRefused(id, { events: [good, allow(asked)] }, { message: /waits for an answer/ })
    await expectRefused(id, one(allow(custom)), { message: /tool_use_id: no call/ })
    await expectRefused(id, one(result(asked)), { message: /custom_tool_use_id: no call/ })
    await expectRefused(id, { events: [allow(asked), allow(asked)] }, { message: /tool_use_id: no call/ })
    await expectRefused(id, { events: [allow(asked), allow('sevt_other')] }, { message: /no call sevt_other/ })
    await using events = await berth.watch(id)
    await berth.client.beta.sessions.events.send(id, { events: [allow(asked), result(custom)] })
    await events.turn()
    await expectRefused(id, one(allow(asked)), { message: /tool_use_id: no call/ })
  })

  test('archiving and deleting while it runs; anything once it is terminated', async () => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.send(id, ['Wait', '::hang'])
    await events.first('user.message', { where: ({ processed_at }) => processed_at !== null })
    const { sessions } = berth.client.beta
    const running = { status: 400, type: 'invalid_request_error', message: expect.stringContaining('interrupt') }
    await expect(sessions.archive(id)).rejects.toMatchObject(running)
    await expect(sessions.delete(id)).rejects.toMatchObject(running)
    expect((await sessions.retrieve(id)).status).toBe('running')
    await sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })
    await events.turn()
    await sessions.archive(id)
    for (const event of [good, { type: 'user.interrupt' }, allow('sevt_1'), result('sevt_1')]) {
      await expectRefused(id, one(event), { message: /terminated/ })
    }
    await expect(sessions.update(id, { title: 'New' })).rejects.toMatchObject({ status: 400 })
  })

  test('an unknown session', async () => {
    const { events } = berth.client.beta.sessions
    const unknown = { status: 404, type: 'not_found_error' }
    await expect(events.send('sesn_unknown', { events: [message('Hello')] })).rejects.toMatchObject(unknown)
    await expect(events.list('sesn_unknown')).rejects.toMatchObject(unknown)
    await expect(events.stream('sesn_unknown')).rejects.toMatchObject(unknown)
  })
})
