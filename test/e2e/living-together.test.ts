import { afterAll, afterEach, beforeAll, expect, onTestFailed, test } from 'vitest'
import type { ServerProcess } from '../harness/berth-server.ts'
import { contentPath, filesOf, fork } from '../harness/berth-api.ts'
import { tool } from '../harness/message.ts'
import { bringing } from '../security/bringing.ts'
import { messagesOf, onlyOf, textOf } from '../harness/reading.ts'
import { askPort, signPort } from '../harness/port-client.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { untilCallShipped, untilTurnSaved } from '../harness/shipped.ts'
import { startKillableBerth, type TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'

let berth: TestBerth<ServerProcess>
let longRunning: string

beforeAll(async () => {
  berth = await startKillableBerth()
  longRunning = await environment({ type: 'long_running', checkpoint_after: 0 })
})
afterAll(async () => {
  await using _ = berth
  await berth.assertClean()
})

afterEach(() => berth.endSessions())

async function environment(lifecycle: object): Promise<string> {
  const config = { type: 'cloud' as const, berth: { lifecycle } }
  return (await berth.createEnvironment({ config })).id
}

async function sessionIn(sandbox: string, environment_id = longRunning): Promise<string> {
  const named = { berth: { sandbox } }
  const session = await berth.createSession({ environment_id, ...named })
  expect(session).toMatchObject(named)
  return session.id
}

/** Two CLIs that start beside each other on a busy machine take their time. */
const soon = (): AbortSignal => AbortSignal.timeout(120_000)

const bash = (command: string): string => tool('Bash', { command })

/** One command, and what it said. */
async function run(id: string, command: string): Promise<string> {
  const turn = await berth.runTurn(id, ['Run', bash(command), '::next', '::text Done.'], soon())
  expect(onlyOf(turn, 'session.status_idle').stop_reason).toEqual({ type: 'end_turn' })
  return textOf(onlyOf(turn, 'agent.tool_result').content).trim()
}

/** Numbers of its turns in the conversation, as the agent remembers them. */
async function remembered(id: string): Promise<string> {
  return messagesOf(await berth.runTurn(id, ['How many', '::text {{turns}}'], soon())).join()
}

test('two sessions work in one sandbox at a time, hand over files, and reach nothing else of each other', async () => {
  onTestFailed(() => void process.stderr.write(berth.server.log()))
  const [one, two] = [await sessionIn('site'), await sessionIn('site')]
  const begun =
    'echo secret > secret; echo here > /tmp/of-the-other; echo one > "$BERTH_OUTPUTS/handed"; id -u; pwd; sleep 300 & touch held; while [ ! -e go ]; do sleep 0.1; done'
  await using events = await berth.watch(one)
  await berth.send(one, ['Work', bash(begun), '::next', '::text Done.'])
  const sandbox = await SessionSandbox.of(berth.traces, one)
  await sandbox.made(`/workspace/${one}/held`)
  // While the first is in the middle of its turn.
  await berth.runTurn(two, ['Prepare', ...(await bringing(['attempts.mjs', 'neighbour.mjs'], `/workspace/${two}`))])
  await waitUntil(
    'the first has handed over',
    async () => (await run(two, `cat /mnt/session/outputs/${one}/handed`)) === 'one',
  )
  const found: unknown = JSON.parse(await run(two, `/opt/berth/node neighbour.mjs ${one} 1001`))
  expect(found).toEqual({
    owners: [1002],
    // At least the runner, a CLI and its command.
    others: expect.any(Number),
    files: {
      'list the working directory': 'EACCES',
      'read a file there': 'EACCES',
      'write one there': 'EACCES',
      'rename it': 'EACCES',
      'remove it': 'EACCES',
      'list the home': 'EACCES',
      'read the conversation': 'EACCES',
      'list its TMPDIR': 'EACCES',
      'make a home': 'EACCES',
      'make a working directory': 'EACCES',
      'make an outputs directory': 'EACCES',
      'write to the outputs': 'EACCES',
      'change an output': 'EACCES',
      'remove an output': 'EACCES',
      'name an output otherwise': expect.stringMatching(/^(EPERM|EACCES)$/),
      'remove from /tmp': 'EPERM',
    },
    processes: {
      end: 'EPERM',
      stop: 'EPERM',
      environment: 'ENOENT',
      memory: 'ENOENT',
      descriptors: 'ENOENT',
      directory: 'ENOENT',
      priority: false,
    },
    sockets: { model: 'EACCES', link: 'EACCES', own: 'ok' },
    identities: { uid: 'EPERM', gid: 'EPERM', groups: expect.not.arrayContaining([1001]) },
    read: 'one',
  })
  // Told once, where it matters.
  expect(JSON.stringify(berth.modelCalls('Prepare')[0]?.last_user)).toContain('Others work in this sandbox')
  expect(await filesOf(berth, two, '.')).toMatchObject({
    data: [{ name: 'attempts.mjs' }, { name: 'neighbour.mjs' }],
    checkpoint_id: null,
  })
  expect((await berth.fetch(contentPath(two, `/workspace/${one}/secret`))).status).toBeGreaterThanOrEqual(400)
  // A port is the sandbox's: it is reached under the address of each.
  await run(
    two,
    `nohup /opt/berth/node -e 'require("http").createServer((_, r) => r.end("open")).listen(8080)' > /dev/null 2>&1 &`,
  )
  for (const id of [one, two]) {
    const { url } = await signPort(berth, id, 8080)
    await waitUntil('the port answers', async () => (await askPort(url)).body === 'open')
  }
  // Relative to its own working directory, where the first waits for it.
  expect((await berth.fetch(contentPath(one, 'go'), { method: 'PUT', body: '' })).status).toBe(200)
  await events.turn(0, soon())
  expect(await run(one, 'id -u; pwd; cat secret; echo $TMPDIR')).toBe(
    `1001\n/workspace/${one}\nsecret\n/home/${one}/.tmp`,
  )
  expect(await run(two, 'id -u')).toBe('1002')
  await using driver = await berth.traces.openDriver()
  expect(await driver.list()).toHaveLength(1)
}, 240_000)

test('a sandbox that is lost comes back for all who live in it, and who leaves it leaves nothing there', async () => {
  onTestFailed(() => void process.stderr.write(berth.server.log()))
  const [one, two] = [await sessionIn('dock'), await sessionIn('dock')]
  const write = (word: string) => `echo ${word} > note; echo ${word} > "$BERTH_OUTPUTS/note"; echo ${word} > ~/own`
  const read = 'cat note "$BERTH_OUTPUTS/note" ~/own; ls'
  await run(one, write('one'))
  await run(two, `${write('two')}; echo x > later`)
  await Promise.all([one, two].map((id) => untilTurnSaved(berth.dir, id)))

  // All of its processes: the next turn of each is on the same disk, with its conversation.
  await using events = await berth.watch(two)
  await berth.send(two, ['Cut', bash('touch /tmp/cut; sleep 300'), '::next', '::text Went on.'])
  const sandbox = await SessionSandbox.of(berth.traces, one)
  await sandbox.made('/tmp/cut')
  await untilCallShipped(berth.dir, two, 'sleep 300')
  await sandbox.kill({ disk: 'kept' })
  expect(messagesOf(await events.turn(0, soon()))).toEqual(['Went on.'])
  const there = ['one\none\none\nnote', 'two\ntwo\ntwo\nlater\nnote']
  expect(await Promise.all([run(one, read), run(two, read)])).toEqual(there)
  expect(await Promise.all([remembered(one), remembered(two)])).toEqual(['3', '4'])

  // The server: the next one has both.
  await berth.server.restart()
  expect(await Promise.all([run(one, read), run(two, read)])).toEqual(there)
  expect((await SessionSandbox.of(berth.traces, one)).ref.id).toBe(sandbox.ref.id)

  // With its disk: each has the files of its own checkpoint.
  await run(one, write('uno'))
  await untilTurnSaved(berth.dir, one)
  await sandbox.kill({ disk: 'lost' })
  expect(await Promise.all([run(one, read), run(two, read)])).toEqual(['uno\nuno\nuno\nnote', there[1]])
  await using driver = await berth.traces.openDriver()
  const [ref, ...more] = await driver.list()
  expect(more).toEqual([])

  // One leaves.
  const left = 'nohup sh -c "while :; do sleep 0.1; done # left-running" > /dev/null 2>&1 &'
  expect(await run(one, `${left} echo x > /tmp/mine; sleep 0.2; kill -0 $! && echo runs`)).toBe('runs')
  const copy = await fork(berth, one, { event_id: (await berth.list(one)).at(-1)?.id })
  expect(copy.session).toMatchObject({ berth: { sandbox: null } })
  berth.adopt(copy.session.id)
  const shared = await Promise.any([one, two].map((id) => SessionSandbox.of(berth.traces, id)))
  await berth.client.beta.sessions.delete(one)
  // Whoever was at it.
  await berth.server.restart()
  const traces = 'find / -uid 1001 -not -path "/proc/*" 2>/dev/null; ls /workspace /home /mnt/session/outputs'
  const onlyTwo = `/home:\n${two}\n\n/mnt/session/outputs:\n${two}\n\n/workspace:\n${two}`
  await waitUntil('nothing of it is left', async () => (await run(two, traces)) === onlyTwo, soon())
  expect((await shared.processes()).filter(({ args }) => args.join(' ').includes('left-running'))).toEqual([])
  expect(await run(two, read)).toBe(there[1])

  // Its fork has a sandbox of its own, and finds what it knows where it was.
  expect(await run(copy.session.id, `id -u; pwd; cat note /workspace/${one}/note`)).toBe(
    `1000\n/workspace/${one}\nuno\nuno`,
  )
  const named = { event_id: (await berth.list(two)).at(-1)?.id, berth: { sandbox: 'dock' } }
  const third = (await fork(berth, two, named)).session.id
  berth.adopt(third)
  expect(await run(third, 'id -u; pwd; cat note')).toBe(`1003\n/workspace/${third}\ntwo`)
  expect((await driver.list()).map(({ id }) => id)).toContain(ref?.id)
  await berth.client.beta.sessions.delete(third)
  await berth.client.beta.sessions.archive(two)
  await waitUntil('the sandbox went with the last', async () => (await driver.get(ref?.id ?? '')) === undefined)
}, 300_000)
