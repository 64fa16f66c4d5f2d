import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bundleForTests } from './testing/bundle.ts'
import { TestSandbox } from './testing/sandbox.ts'
import type { TestSession } from './testing/sandbox.ts'

const bundle = bundleForTests()
const isRoot = process.getuid?.() === 0
const within = (session: TestSession, name: string) => join(session.config.cwd, name)
const waitsForever = '::tool Bash {"command":"touch begun; for i in $(seq 3000); do sleep 0.1; done; touch finished"}'
const leavesOneBehind = '::tool Bash {"command":"setsid sleep 1000 >/dev/null 2>&1 & echo left"}'

async function begun(session: TestSession): Promise<void> {
  await expect.poll(() => existsSync(within(session, 'begun')), { timeout: 30_000 }).toBe(true)
}

test('a CLI killed in the middle of a tool is reported, leaves nothing running, and the next input goes on', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.say(waitsForever, '::next', '::text not reached')
  const { pid } = await session.report('started')
  await begun(session)
  process.kill(pid, 'SIGKILL')
  const exited = await session.report('exited')
  expect(exited).toMatchObject({ reason: 'crashed', exit_code: null, signal: 'SIGKILL' })
  expect(sandbox.processesOf(session)).toEqual([])

  session.say('::text resumed')
  await session.report('started', 2)
  await session.idle()
  expect(session.messages('result')).toMatchObject([{ result: 'resumed', session_id: session.config.sdk_session_id }])
  expect(session.all('exited')).toHaveLength(1)
})

test('a CLI that crashes while a call is held can be started again', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session({ tools: [{ name: 'Bash', policy: 'always_ask' }] })
  session.open()
  session.say('::tool Bash {"command":"touch made"}', '::next', '::text not reached')
  const { pid } = await session.report('started')
  const { tool_use_id } = await session.report('tool_call')
  process.kill(pid, 'SIGKILL')
  await session.report('exited')
  session.send({ type: 'verdict', tool_use_id, behavior: 'allow', message: null })
  session.say('::text resumed')
  await session.idle()
  expect(session.messages('result')).toMatchObject([{ result: 'resumed' }])
  expect(existsSync(within(session, 'made'))).toBe(false)
})

test('close ends the CLI and what it left running; a later input continues', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.say(leavesOneBehind, '::next', '::text ok')
  await session.idle()
  if (isRoot) expect(sandbox.processesOf(session).length).toBeGreaterThan(1)
  session.send({ type: 'close' })
  expect(await session.report('exited')).toMatchObject({ reason: 'closed' })
  expect(sandbox.processesOf(session)).toEqual([])
  session.send({ type: 'close' })
  expect(await session.report('exited', 2)).toMatchObject({ reason: 'closed', exit_code: null })

  session.say('::text again')
  await session.idle(2)
  expect(session.messages('result').at(-1)).toMatchObject({
    result: 'again',
    session_id: session.config.sdk_session_id,
  })
})

test('on SIGTERM the runner ends everything and exits', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const one = sandbox.session()
  const two = sandbox.session()
  one.open()
  two.open()
  one.say(waitsForever)
  two.say(leavesOneBehind, '::next', '::text ok')
  await begun(one)
  await two.idle()
  expect(await sandbox.stopRunner()).toBe(0)
  expect([...sandbox.processesOf(one), ...sandbox.processesOf(two)]).toEqual([])
  expect(existsSync(within(one, 'finished'))).toBe(false)
})

test('a changed config is used from the next turn on', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session({ tools: [{ name: 'Bash', policy: 'always_ask' }] })
  session.open()
  session.say('::tool Bash {"command":"true"}', '::next', '::text one')
  const { tool_use_id } = await session.report('tool_call')
  session.open({ tools: [{ name: 'Read', policy: 'always_allow' }] })
  session.send({ type: 'verdict', tool_use_id, behavior: 'allow', message: null })
  await session.idle(1)
  session.say('::text two')
  await session.idle(2)
  expect(session.messages('init').map(({ tools }) => tools)).toEqual([['Bash'], ['Read']])
  expect(session.messages('result').map(({ result }) => result)).toEqual(['one', 'two'])
  expect(session.all('started')).toHaveLength(2)
  expect(session.all('exited')).toEqual([])
})

test('the same config again changes nothing', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.open()
  session.say('::text one')
  await session.idle(1)
  session.open({ resume: true })
  session.say('::text two')
  await session.idle(2)
  expect(session.all('started')).toHaveLength(1)
})

test('a CLI that cannot be run is reported', async () => {
  await using sandbox = await TestSandbox.start(bundle, { BERTH_CLAUDE: '/nowhere/claude' })
  const session = sandbox.session()
  session.open()
  const exited = await session.report('exited')
  expect(exited).toMatchObject({ reason: 'start_failed', exit_code: 127 })
  expect(exited.detail).toContain('/nowhere/claude')
  session.say('::text nobody')
  expect(await session.report('exited', 2)).toMatchObject({ reason: 'start_failed' })
})

test('to resume a conversation that is not there is a failure, not a new conversation', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session({ resume: true })
  session.open()
  const exited = await session.report('exited')
  expect(exited.reason).toBe('start_failed')
  expect(exited.detail).toContain('No conversation found')
})

test.runIf(isRoot)('a home that belongs to somebody else is not used', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const home = join(sandbox.dir, 'squatted')
  mkdirSync(home, { mode: 0o777 })
  const session = sandbox.session({ home })
  session.open()
  const exited = await session.report('exited')
  expect(exited.reason).toBe('start_failed')
  expect(existsSync(join(home, '.claude', 'projects'))).toBe(false)
})

test('a line without end does not end the runner', async () => {
  const claude = { path: '' }
  await using sandbox = new TestSandbox(bundle)
  claude.path = join(sandbox.dir, 'endless')
  writeFileSync(claude.path, '#!/bin/sh\nexec head -c 50000000 /dev/zero\n', { mode: 0o755 })
  await sandbox.peer.listen()
  await sandbox.startModel()
  sandbox.startRunner({ BERTH_CLAUDE: claude.path })
  const session = sandbox.session()
  session.open()
  const exited = await session.report('exited')
  expect(exited.detail).toContain('a line of more than 33554432 bytes')
  session.send({ type: 'close' })
  expect(await session.report('exited', 2)).toMatchObject({ reason: 'closed' })
})

test('sessions in one sandbox run beside each other', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const sessions = [sandbox.session(), sandbox.session()]
  for (const session of sessions) session.open()
  for (const session of sessions) session.say(`::tool Bash {"command":"id -u > uid"}`, '::next', `::text ${session.id}`)
  for (const session of sessions) {
    await session.idle()
    expect(session.messages('result')).toMatchObject([{ result: session.id }])
    expect(existsSync(within(session, 'uid'))).toBe(true)
  }
})
