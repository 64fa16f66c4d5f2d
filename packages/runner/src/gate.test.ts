import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bundleForTests } from './testing/bundle.ts'
import { TestSandbox } from './testing/sandbox.ts'
import type { TestSession } from './testing/sandbox.ts'

const bundle = bundleForTests()
const touch = (name: string) => `::tool Bash {"command":"touch ${name}"}`
const made = (session: TestSession, name: string) => existsSync(join(session.config.cwd, name))
const ask = { tools: [{ name: 'Bash', policy: 'always_ask' as const }] }

test('a tool has no effect before its call is committed', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  sandbox.peer.commits = (report, id) => report.type !== 'tool_call' || id !== session.id
  session.open()
  session.say(touch('made'), '::next', '::text ok')
  const call = await session.report('tool_call')
  expect(call).toMatchObject({ name: 'Bash', input: { command: 'touch made' }, policy: 'always_allow', agent_id: null })
  await sandbox.meanwhile()
  expect(made(session, 'made')).toBe(false)
  expect(session.messages('user')).toEqual([])

  sandbox.peer.commits = () => true
  sandbox.peer.commit(session.id)
  await session.idle()
  expect(made(session, 'made')).toBe(true)
})

test('the call is reported after the message that makes it', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.say(touch('a'), touch('b'), '::next', '::text ok')
  await session.idle()
  for (const { tool_use_id } of session.all('tool_call')) {
    const mentions = session.reports.filter((report) => JSON.stringify(report).includes(`"${tool_use_id}"`))
    expect(mentions.map(({ type }) => type).slice(0, 2)).toEqual(['message', 'tool_call'])
  }
  expect(session.all('tool_call')).toHaveLength(2)
})

test("the call is reported after the line of its turn's input", async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.say(touch('a'), '::next', '::text ok')
  await session.report('tool_call')
  const types = session.reports.map((report) =>
    report.type === 'transcript' && report.text.includes('touch a') ? 'input line' : report.type,
  )
  expect(types.indexOf('input line')).toBeGreaterThanOrEqual(0)
  expect(types.indexOf('input line')).toBeLessThan(types.indexOf('tool_call'))
})

test('a call that needs an answer waits for it, and runs when allowed', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(ask)
  session.open()
  session.say(touch('made'), '::next', '::text ok')
  const { tool_use_id, policy } = await session.report('tool_call')
  expect(policy).toBe('always_ask')
  await sandbox.meanwhile()
  expect(made(session, 'made')).toBe(false)
  session.send({ type: 'verdict', tool_use_id, behavior: 'allow', message: null })
  await session.idle()
  expect(made(session, 'made')).toBe(true)
})

test('a denied call does not run, and the model is told why', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(ask)
  session.open()
  session.say(touch('made'), '::next', '::text ok')
  const { tool_use_id } = await session.report('tool_call')
  session.send({ type: 'verdict', tool_use_id, behavior: 'deny', message: 'not on a Sunday' })
  await session.idle()
  expect(made(session, 'made')).toBe(false)
  expect(JSON.stringify(session.messages('user'))).toContain('not on a Sunday')
  expect(session.messages('result')).toMatchObject([{ result: 'ok' }])
})

test('a verdict may come before the CLI asks, and each of two parallel calls gets its own', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(ask)
  session.open()
  session.say(touch('first'), touch('second'), '::next', '::text ok')
  const calls = await sandbox.peer.until(() => {
    const ids = session
      .messages('assistant')
      .flatMap((message) => JSON.stringify(message).match(/toolu_\w+/)?.[0] ?? [])
    return ids.length === 2 && ids
  })
  // The second is asked about only after the first has been dealt with.
  session.send({ type: 'verdict', tool_use_id: calls[1] ?? '', behavior: 'deny', message: null })
  session.send({ type: 'verdict', tool_use_id: calls[0] ?? '', behavior: 'allow', message: null })
  await session.idle()
  expect(session.all('tool_call').map(({ tool_use_id }) => tool_use_id)).toEqual(calls)
  expect([made(session, 'first'), made(session, 'second')]).toEqual([true, false])
})

test('tools that the policy denies or does not know are not run', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session({
    tools: [
      { name: 'Bash', policy: 'deny' },
      { name: 'Read', policy: 'always_allow' },
    ],
  })
  session.open()
  session.say(touch('made'), '::tool Write {"file_path":"made","content":"x"}', '::next', '::text ok')
  await session.idle()
  expect(made(session, 'made')).toBe(false)
  expect(session.messages('init')).toMatchObject([{ tools: ['Read'] }])
  expect(session.messages('result')).toMatchObject([{ result: 'ok' }])
})

test('an interrupt releases a call that waits for an answer, without running it', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(ask)
  session.open()
  session.say(touch('made'), '::next', '::text not reached')
  const { tool_use_id } = await session.report('tool_call')
  session.send({ type: 'interrupt' })
  await session.idle()
  expect(session.messages('result')).toMatchObject([{ terminal_reason: 'aborted_tools' }])
  session.send({ type: 'verdict', tool_use_id, behavior: 'allow', message: null })
  session.say('::text next')
  await session.idle(2)
  expect(made(session, 'made')).toBe(false)
  expect(session.messages('result').at(-1)).toMatchObject({ result: 'next' })
})

test('an interrupt releases a call whose commit does not come', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  sandbox.peer.commits = (report) => report.type !== 'tool_call'
  session.open()
  session.say(touch('made'), '::next', '::text not reached')
  await session.report('tool_call')
  session.send({ type: 'interrupt' })
  await session.idle()
  expect(made(session, 'made')).toBe(false)
})

test("a subagent's calls pass the gate too, and one that nobody could answer is refused", async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session({
    tools: [
      { name: 'Agent', policy: 'always_allow' },
      { name: 'Bash', policy: 'always_allow' },
      { name: 'Write', policy: 'always_ask' },
    ],
  })
  sandbox.peer.commits = (report, id) => id !== session.id || report.type !== 'tool_call' || report.name !== 'Bash'
  session.open()
  const asked = JSON.stringify({ file_path: join(session.config.cwd, 'asked'), content: 'x' })
  const script = [`::tool Write ${asked}`, '::next', touch('made'), '::next', '::text done']
  const task = {
    description: 'd',
    prompt: script.join('\n'),
    subagent_type: 'general-purpose',
    run_in_background: false,
  }
  session.say(`::tool Agent ${JSON.stringify(task)}`, '::next', '::text ok')
  const call = await session.report('tool_call', 1, ({ name }) => name === 'Bash')
  expect(call.agent_id).toEqual(expect.any(String))
  expect(session.all('tool_call').map(({ name }) => name)).toEqual(['Agent', 'Bash'])
  await sandbox.meanwhile()
  expect(made(session, 'made')).toBe(false)
  sandbox.peer.commits = () => true
  sandbox.peer.commit(session.id)
  await session.idle()
  expect(made(session, 'made')).toBe(true)
  expect(made(session, 'asked')).toBe(false)
  expect(session.all('model_request').filter(({ phase }) => phase === 'start')).toHaveLength(2)
})
