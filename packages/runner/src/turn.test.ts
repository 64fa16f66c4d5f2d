import { expect, test } from 'vitest'
import { bundleForTests } from './testing/bundle.ts'
import { TestSandbox, type TestSession } from './testing/sandbox.ts'

const bundle = bundleForTests()

test('a turn of text: messages, deltas, the model request, and idle after the result', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  const started = await session.report('started')
  expect(started.cli_version).toMatch(/^\d+\.\d+\.\d+$/)
  expect(started.pid).toBeGreaterThan(1)
  const uuid = session.say('::thinking hm', '::text hello there')
  await session.idle()

  expect(session.messages('assistant')).toHaveLength(2)
  expect(session.messages('result')).toMatchObject([
    { subtype: 'success', result: 'hello there', user_message_uuid: uuid },
  ])
  expect(session.messages('stream_event')).toEqual([])
  const kinds = session.reports.map((report) =>
    report.type === 'message' ? (report.message['subtype'] ?? report.message['type']) : report.type,
  )
  expect(kinds.indexOf('success')).toBeLessThan(kinds.lastIndexOf('session_state_changed'))

  const [start, end, ...more] = session.all('model_request')
  expect(more).toEqual([])
  expect(start).toMatchObject({ phase: 'start', model: 'claude-opus-5-5', usage: null, stop_reason: null })
  expect(end).toMatchObject({ phase: 'end', message_id: start?.message_id, stop_reason: 'end_turn' })
  expect(end?.usage).toMatchObject({ input_tokens: expect.any(Number), output_tokens: expect.any(Number) })

  const { arrivals } = sandbox.peer.conversation(session.id)
  const deltas = arrivals.filter(({ kind }) => kind === 'delta').map(({ body }) => body)
  expect(JSON.stringify(deltas)).toContain('"text_delta"')
  const firstDelta = arrivals.findIndex(({ kind }) => kind === 'delta')
  const requestStart = arrivals.findIndex(({ body }) => body['type'] === 'model_request')
  expect(requestStart).toBeLessThan(firstDelta)
  expect(sandbox.peer.faults).toEqual([])
})

test('the next input goes to the same CLI and knows what was said', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.say('::text one')
  await session.idle(1)
  session.say('::text two')
  await session.idle(2)
  expect(session.all('started')).toHaveLength(1)
  expect(session.messages('result').map(({ result }) => result)).toEqual(['one', 'two'])
})

test('the CLI and its tools see nothing of the runner', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session({ env: { GREETING: 'hello', PATH: '/nowhere', ANTHROPIC_API_KEY: 'stolen' } })
  session.open()
  session.say(
    '::tool Bash {"command":"env; id -u; echo cwd=$PWD; stat -c %a $HOME $CLAUDE_CONFIG_DIR $TMPDIR"}',
    '::next',
    '::text ok',
  )
  await session.idle()
  const output = JSON.stringify(session.messages('user'))
  expect(output).toContain('GREETING=hello')
  expect(output).toContain(`cwd=${session.config.cwd}`)
  expect(output).toContain('PATH=/usr/local/bin:/usr/bin:/bin')
  expect(output).not.toMatch(/BERTH_|canary|CANARY|stolen/)
  if (process.getuid?.() === 0) expect(output).toContain(`\\n${session.config.uid}\\n`)
})

test('a model request that is refused for good ends the turn with the error', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.say('::error 400 invalid_request_error Your credit balance is too low')
  await session.idle()
  expect(session.messages('result')).toMatchObject([
    { is_error: true, terminal_reason: 'api_error', api_error_status: 400 },
  ])
  expect(session.all('model_request')).toEqual([])
})

test('an interrupt in the middle of a text ends the turn and leaves the CLI ready', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.say('::slow 60000', '::text one two three')
  const { arrivals } = sandbox.peer.conversation(session.id)
  await sandbox.peer.until(() => arrivals.some(({ kind }) => kind === 'delta'))
  session.send({ type: 'interrupt' })
  await session.idle()
  expect(session.messages('result')).toMatchObject([{ terminal_reason: 'aborted_streaming' }])
  expect(session.all('model_request')).toMatchObject([{ phase: 'start' }, { phase: 'end', usage: null }])
  session.say('::text still here')
  await session.idle(2)
  expect(session.messages('result').at(-1)).toMatchObject({ result: 'still here' })
  expect(session.all('exited')).toEqual([])
})

const moments: [string, (session: TestSession) => Promise<unknown>][] = [
  ['before the CLI is up', () => Promise.resolve()],
  ['when the CLI is up', (session) => session.report('started')],
  ['when the CLI has taken it', (session) => session.report('transcript')],
]

test.each(moments)('an interrupt ends a turn that was only just handed over, %s', async (_, moment) => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session({
    custom_tools: [{ name: 'ask', description: '', input_schema: { type: 'object' } }],
  })
  session.open()
  session.say('::tool mcp__custom__ask {}', '::next', '::text never')
  await moment(session)
  session.send({ type: 'interrupt' })
  await session.idle()
  expect(JSON.stringify(session.messages('result'))).not.toContain('never')
  session.say('::text still here')
  await session.idle(2)
  expect(session.messages('result').at(-1)).toMatchObject({ result: 'still here' })
  expect(session.all('exited')).toEqual([])
})

test('what is no input is refused', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  const uuid = crypto.randomUUID()
  session.send({ type: 'input', uuid, content: [{ type: 'text', text: 'too early' }] })
  expect(await session.report('refused')).toMatchObject({ command: 'input', detail: 'the session has not been opened' })
  session.open()
  session.send({ type: 'input', uuid, content: [{ type: 'tool_result', tool_use_id: 'x' }] })
  expect(await session.report('refused', 2)).toMatchObject({ command: 'input' })
  session.say('::text fine')
  await session.idle()
  expect(session.messages('result')).toMatchObject([{ result: 'fine' }])
})
