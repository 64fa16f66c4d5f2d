import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bundleForTests } from './testing/bundle.ts'
import { losesCli } from './testing/lost-cli.ts'
import { TestSandbox } from './testing/sandbox.ts'
import type { TestSession } from './testing/sandbox.ts'

const bundle = bundleForTests()
const ask = {
  tools: ['Bash', 'Read', 'Write', 'Edit', 'Glob', 'Grep'].map((name) => ({ name, policy: 'always_ask' as const })),
}
const append = (name: string) => `::tool Bash {"command":"echo ran >> ${name}; echo ${name} says hello"}`
const read = (session: TestSession, name: string) => readFileSync(join(session.config.cwd, name), 'utf8')

/** What is known of the transcript's format was measured with it: docs/decisions/parked-approvals.md says what to measure anew. */
test('the CLI is the one that was measured', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  expect((await session.report('started')).cli_version).toBe('2.1.330')
})

const begun = (session: TestSession) => session.all('call_begins').map(({ tool_use_id }) => tool_use_id)

test('calls of a CLI that is gone run one after the other, each once and committed before, and the model is not asked', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(ask)
  const calls = await losesCli(sandbox, session, [append('a'), append('b'), append('c')])
  const requests = sandbox.model.requests().length
  sandbox.peer.commits = (report) => report.type !== 'call_begins'
  session.send({ type: 'run_calls', config: session.config, seen_tools: [], calls })
  await session.report('call_begins')
  await sandbox.meanwhile()
  expect(existsSync(join(session.config.cwd, 'a'))).toBe(false)
  sandbox.peer.commits = () => true
  sandbox.peer.commit(session.id)
  await sandbox.peer.until(() => session.messages('user').length === 3)
  expect(begun(session)).toEqual(calls.map(({ tool_use_id }) => tool_use_id))
  for (const name of ['a', 'b', 'c']) expect(read(session, name)).toBe('ran\n')
  const results = JSON.stringify(session.messages('user'))
  for (const name of ['a', 'b', 'c']) expect(results).toContain(`${name} says hello`)
  const others = sandbox.model.requests().slice(requests)
  expect(others.filter(({ prompt }) => prompt === 'Do')).toEqual([])
  await expect.poll(() => sandbox.processesOf(session)).toEqual([])
})

test('every tool can be taken up so, those too that the CLI asks for by itself never', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(ask)
  const file = join(session.config.cwd, 'w')
  const calls = await losesCli(sandbox, session, [
    '::tool Bash {"command":"echo plain"}',
    `::tool Write {"file_path":"${file}","content":"written"}`,
    `::tool Read {"file_path":"${file}"}`,
    '::tool Glob {"pattern":"*"}',
    '::tool Grep {"pattern":"written","output_mode":"count"}',
    '::tool Bash {"command":"exit 3"}',
  ])
  session.send({ type: 'run_calls', config: session.config, seen_tools: [], calls })
  await sandbox.peer.until(() => session.messages('user').length === calls.length)
  expect(begun(session)).toEqual(calls.map(({ tool_use_id }) => tool_use_id))
  const results = session.messages('user').map((message) => JSON.stringify(message['message']))
  for (const [index, text] of ['plain', 'created', 'written', 'w', 'w:1', 'Exit code 3'].entries()) {
    expect(results[index]).toContain(text)
  }
})

test('a call whose CLI dies in the middle of it is reported as begun, and the end of the CLI after it', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(ask)
  const calls = await losesCli(sandbox, session, [
    '::tool Bash {"command":"touch b; kill -9 $PPID; sleep 60"}',
    append('a'),
  ])
  session.send({ type: 'run_calls', config: session.config, seen_tools: [], calls })
  expect(await session.report('exited', 2)).toMatchObject({ reason: 'crashed' })
  expect(begun(session)).toEqual([calls[0]?.tool_use_id])
  expect(existsSync(join(session.config.cwd, 'a'))).toBe(false)
})

test('a call that the CLI does not take up is refused, and nothing of it is begun', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(ask)
  const [call] = await losesCli(sandbox, session, [append('a')])
  const line = (call?.line ?? '').replaceAll('hook_deferred_tool', 'hook_of_another_version')
  session.send({
    type: 'run_calls',
    config: session.config,
    seen_tools: [],
    calls: [{ tool_use_id: call?.tool_use_id ?? '', line, digest: null }],
  })
  // Whatever the CLI does instead, it has no model to do it with: it comes to its end.
  session.send({ type: 'input', uuid: randomUUID(), content: [] })
  await session.report('refused', 1, ({ command }) => command === 'input')
  expect(session.all('refused')[0]).toMatchObject({ command: 'run_calls' })
  expect(begun(session)).toEqual([])
  expect(existsSync(join(session.config.cwd, 'a'))).toBe(false)
})

test('an interrupt ends the call that runs and keeps the rest from running', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session(ask)
  const calls = await losesCli(sandbox, session, ['::tool Bash {"command":"touch begun; sleep 60"}', append('a')])
  session.send({ type: 'run_calls', config: session.config, seen_tools: [], calls })
  await expect.poll(() => existsSync(join(session.config.cwd, 'begun')), { timeout: 30_000 }).toBe(true)
  session.send({ type: 'interrupt' })
  session.send({ type: 'close' })
  await session.report('exited', 2)
  expect(sandbox.processesOf(session)).toEqual([])
  expect(existsSync(join(session.config.cwd, 'a'))).toBe(false)
})
