import { describe, expect } from 'vitest'
import { message, tool, untilTold } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { story } from '../harness/story.ts'

describe('a conversation', () => {
  story('is remembered from turn to turn, and its files stay', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['My name is Ada', tool('Write', { file_path: '/workspace/name', content: 'Ada' })])
    await berth.runTurn(id, ['And I like numbers', '::text Good.'])
    const turn = await berth.runTurn(id, [
      'Who am I?',
      tool('Bash', { command: 'cat name' }),
      '::next',
      '::text {{turns}}: {{prompt:1}}, {{prompt:2}} ({{result}})',
    ])
    expect(messagesOf(turn)).toEqual(['3: My name is Ada, And I like numbers (Ada)'])
  })

  story('takes what is said while it runs in order, without an idle between', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.send(id, ['First', untilTold, '::next', '::text 1'])
    await events.first('session.status_running')
    await berth.send(id, ['Second', '::text 2'])
    await berth.send(id, ['Third', '::text 3 after {{prompt:1}}, {{prompt:2}}'])
    await (await SessionSandbox.of(berth.traces, id)).make('/workspace/go')
    const turn = await events.turn()
    expect(messagesOf(turn)).toEqual(['1', '2', '3 after First, Second'])
    expect(ofType(turn, 'session.status_running')).toHaveLength(1)
    // Each is shown at once, and again when its time comes: after the answer to the one before.
    const types = turn.map((event) =>
      event.type === 'user.message' ? `${event.type} ${event.processed_at === null ? 'queued' : 'taken'}` : event.type,
    )
    const order = types.filter((type) => type.startsWith('user.message') || type === 'agent.message')
    expect(order.filter((type) => type !== 'user.message queued')).toEqual([
      'user.message taken',
      'agent.message',
      'user.message taken',
      'agent.message',
      'user.message taken',
      'agent.message',
    ])
    expect(order.filter((type) => type === 'user.message queued')).toHaveLength(3)
    const listed = (await berth.list(id)).map(({ type }) => type)
    expect(listed.filter((type) => type === 'user.message' || type === 'agent.message')).toEqual([
      'user.message',
      'agent.message',
      'user.message',
      'agent.message',
      'user.message',
      'agent.message',
    ])
  })

  story('lists what waits last, without a time', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.send(id, ['Long', '::thinking Hm.', '::hang'])
    await events.first('user.message', { where: ({ processed_at }) => processed_at !== null })
    await berth.send(id, ['Waits', '::text Waited.'])
    await berth.send(id, ['Waits, too', '::text Waited, too.'])
    const listed = await berth.list(id)
    expect(listed.slice(-2)).toMatchObject([
      { type: 'user.message', processed_at: null },
      { type: 'user.message', processed_at: null },
    ])
    expect(JSON.stringify(listed.at(-2))).toContain('Waits')
    expect(JSON.stringify(listed.at(-1))).toContain('Waits, too')
    await berth.client.beta.sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })
    expect(messagesOf(await events.turn())).toEqual(['Waited.', 'Waited, too.'])
  })

  story('takes several messages of one request in order', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    const { data } = await berth.client.beta.sessions.events.send(id, {
      events: [message(['A', '::text a']), message(['B', '::text b']), message(['C', '::text c {{turns}}'])],
    })
    const turn = await events.turn()
    expect(messagesOf(turn)).toEqual(['a', 'b', 'c 3'])
    const sent = (data ?? []).map((event) => event.id)
    expect(sent).toHaveLength(3)
    expect(
      ofType(turn, 'user.message')
        .filter(({ processed_at }) => processed_at === null)
        .map((event) => event.id),
    ).toEqual(sent)
  })

  story('takes all events of a request or none', async ({ berth }) => {
    const { id } = await berth.createSession()
    const refused = berth.client.beta.sessions.events.send(id, {
      events: [
        message(['A', '::text a']),
        { type: 'user.tool_confirmation', tool_use_id: 'sevt_none', result: 'allow' },
      ],
    })
    await expect(refused).rejects.toMatchObject({ status: 400 })
    expect(await berth.list(id)).toEqual([])
    expect(await berth.client.beta.sessions.retrieve(id)).toMatchObject({ status: 'idle' })
  })

  story('can begin with the session', async ({ berth }) => {
    const session = await berth.createSession({
      initial_events: [message(['Begin', untilTold, '::next', '::text Begun.']), message(['Go on', '::text Going.'])],
    })
    expect(session.status).toBe('running')
    await using events = await berth.watch(session.id)
    await (await SessionSandbox.of(berth.traces, session.id)).make('/workspace/go')
    await events.first('session.status_idle')
    const listed = await berth.list(session.id)
    expect(listed.map(({ type }) => type).filter((type) => type.endsWith('message'))).toEqual([
      'user.message',
      'agent.message',
      'user.message',
      'agent.message',
    ])
    expect(listed[0]?.type).toBe('session.status_running')
  })

  story('carries pictures and documents to the model as they were sent', async ({ berth }) => {
    const { id } = await berth.createSession()
    const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
    const pdf = Buffer.from('%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n').toString(
      'base64',
    )
    const blocks = [
      { type: 'text' as const, text: 'Look at these\n::text Looked.' },
      { type: 'image' as const, source: { type: 'base64' as const, media_type: 'image/png' as const, data: png } },
      {
        type: 'document' as const,
        source: { type: 'base64' as const, media_type: 'application/pdf' as const, data: pdf },
        title: 'A page',
      },
      {
        type: 'document' as const,
        source: { type: 'text' as const, media_type: 'text/plain' as const, data: 'plain words' },
        title: 'Words',
        context: 'of yesterday',
      },
    ]
    const turn = await berth.runTurn(id, { blocks })
    expect(messagesOf(turn)).toEqual(['Looked.'])
    expect(ofType(turn, 'user.message')[1]?.content).toEqual(blocks)
    const [call] = berth.modelCalls('Look at these')
    const sent = (call?.last_user ?? [])
      .filter(({ type }) => type !== 'text')
      .map((block) => ({ ...block, cache_control: undefined }))
    expect(sent).toEqual(blocks.slice(1))
  })

  story('goes on after the model has failed', async ({ berth }) => {
    const environment = await berth.createEnvironment()
    const { id } = await berth.createSession({ environment_id: environment.id })
    const failed = await berth.runTurn(id, ['Break', '::error 403 permission_error No.'])
    expect(onlyOf(failed, 'session.error').error).toMatchObject({
      type: 'model_request_failed_error',
      retry_status: { type: 'exhausted' },
    })
    expect(onlyOf(failed, 'session.status_idle').stop_reason.type).toBe('retries_exhausted')
    expect(messagesOf(await berth.runTurn(id, ['Again', '::text Here.']))).toEqual(['Here.'])
  })
})
