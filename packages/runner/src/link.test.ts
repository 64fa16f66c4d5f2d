import { linkClose } from '@berth/protocol/link'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { bundleForTests } from './testing/bundle.ts'
import { TestSandbox } from './testing/sandbox.ts'
import type { TestSession } from './testing/sandbox.ts'

const bundle = bundleForTests()

test('hello says who the runner is, and it dials until somebody is there', async () => {
  await using sandbox = new TestSandbox(bundle)
  sandbox.startRunner()
  await sandbox.startModel()
  await sandbox.peer.listen()
  const hello = await sandbox.peer.until(() => sandbox.peer.hellos[0])
  expect(hello).toEqual({
    type: 'hello',
    protocol: 1,
    sandbox_id: 'sbx_test',
    nonce: 'canary-nonce',
    epoch: 0,
    sessions: [],
  })
})

test('nothing is lost or doubled while the connection breaks again and again', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  const { peer } = sandbox
  const random = seeded(7)
  peer.onMessage = (message) => {
    if (message.type !== 'hello' && random() < 0.12) peer.cut()
  }
  peer.commits = () => {
    if (random() < 0.8) return true
    setTimeout(() => peer.commit(session.id), 3)
    return false
  }
  session.open()
  for (let turn = 1; turn <= 4; turn++) {
    session.say(`::tool Bash {"command":"echo ${turn} >> ran"}`, '::next', `::text turn ${turn}`)
    await session.idle(turn)
  }
  peer.onMessage = () => undefined
  peer.commits = () => true
  session.say('::tool Bash {"command":"cat ran"}', '::next', '::text end')
  await session.idle(5)
  expect(peer.faults).toEqual([])
  expect(peer.connections).toBeGreaterThan(3)
  expect(session.messages('result').map(({ result }) => result)).toEqual([
    'turn 1',
    'turn 2',
    'turn 3',
    'turn 4',
    'end',
  ])
  expect(JSON.stringify(session.messages('user').at(-1))).toContain('"1\\n2\\n3\\n4"')
  const uuids = session.all('message').map(({ message }) => message['uuid'])
  expect(new Set(uuids).size).toBe(uuids.length)
})

test('a turn goes on while the server is away, and its messages are there when it is back', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.say(waiting, '::next', '::text one two three four five six seven eight')
  await began(session)
  await sandbox.peer.stop()
  goOn(session)
  await expect.poll(() => sandbox.model.requests()[1]?.outcome, { timeout: 30_000 }).toBe('complete')
  expect(session.messages('result')).toEqual([])
  await sandbox.peer.listen()
  await session.idle()
  expect(session.messages('result')).toMatchObject([{ result: 'one two three four five six seven eight' }])
  expect(sandbox.peer.faults).toEqual([])
})

test('after a part of an answer was dropped, no later part of it is sent', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  session.say(
    '::slow 20',
    '::chunks 100',
    '::repeat 100 word',
    '::tool Bash {"command":"true"}',
    '::next',
    '::text whole',
  )
  const { arrivals } = sandbox.peer.conversation(session.id)
  const deltas = (): string[] => arrivals.filter(({ kind }) => kind === 'delta').map(({ body }) => JSON.stringify(body))
  await sandbox.peer.until(() => deltas().some((text) => text.includes('text_delta')))
  await sandbox.peer.stop()
  // With nothing to be dropped the rest would be sent.
  await expect.poll(() => sandbox.model.requests()[0]?.outcome, { timeout: 30_000 }).toBe('complete')
  const before = deltas().length
  await sandbox.peer.listen()
  await session.idle()
  const after = deltas().slice(before)
  expect(after[0]).toContain('message_start')
  expect(after.join()).not.toContain('word')
  expect(after.join()).toContain('whole')
})

test('a tool does not start while the server is away', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  const other = sandbox.session()
  session.open()
  other.open()
  session.say(waiting, '::next', '::tool Bash {"command":"touch made"}', '::next', '::text ok')
  other.say(
    waiting,
    '::next',
    '::slow 100',
    '::text this takes long enough for the call to have been made by now and for the tool to have run',
  )
  await Promise.all([began(session), began(other)])
  await sandbox.peer.stop()
  goOn(session)
  const complete = (): number => sandbox.model.requests().filter(({ outcome }) => outcome === 'complete').length
  await expect.poll(complete, { timeout: 30_000 }).toBe(3)
  goOn(other)
  await expect.poll(complete, { timeout: 30_000 }).toBe(4)
  const file = join(session.config.cwd, 'made')
  expect(existsSync(file)).toBe(false)
  await sandbox.peer.listen()
  await session.idle()
  expect(existsSync(file)).toBe(true)
})

test('a CLI that says more than is committed is made to wait', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  await session.report('started')
  sandbox.peer.commits = (_report, id) => id !== session.id
  session.say('::chunks 8', '::repeat 700000 word')
  await session.message('result')
  session.say('::chunks 8', '::repeat 700000 word')
  await expect.poll(() => sandbox.model.requests().length, { timeout: 30_000 }).toBe(2)
  await sandbox.meanwhile()
  expect(session.messages('result')).toHaveLength(1)
  sandbox.peer.commits = () => true
  sandbox.peer.commit(session.id)
  await session.idle(2)
  expect(session.messages('result')).toHaveLength(2)
  expect(sandbox.peer.faults).toEqual([])
})

test('a server with an older epoch is refused, and a newer one welcomed', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const { peer } = sandbox
  const session = sandbox.session()
  peer.epoch = 5
  session.open()
  await session.report('started')
  await peer.stop()
  peer.epoch = 4
  await peer.listen()
  await peer.until(() => peer.hellos.length >= 3)
  peer.epoch = 6
  session.say('::text hello')
  await session.idle()
  expect(peer.hellos.map(({ epoch }) => epoch).filter((epoch) => epoch > 5)).toEqual([])
  peer.cut()
  await peer.until(() => peer.hellos.at(-1)?.epoch === 6)
})

test('a server that has lost its lease may hang up: the runner dials on', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const { peer } = sandbox
  const session = sandbox.session()
  session.open()
  await session.report('started')
  const before = peer.hellos.length
  peer.close(linkClose.stale_epoch)
  await peer.until(() => peer.hellos.length > before)
  session.say('::text hello')
  await session.idle()
})

test.each(['unknown_sandbox', 'bad_hello', 'protocol_mismatch'] as const)(
  'close code %s ends the runner and its sessions',
  async (name) => {
    await using sandbox = await TestSandbox.start(bundle)
    const session = sandbox.session()
    session.open()
    await session.report('started')
    const { runner } = sandbox
    sandbox.peer.close(linkClose[name])
    if (runner?.exitCode === null) await once(runner, 'exit')
    expect(runner?.exitCode).toBe(3)
    expect(sandbox.processesOf(session)).toEqual([])
  },
)

test('a command of an unknown kind is refused, and the next one is carried out', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  await sandbox.peer.until(() => sandbox.peer.hellos[0])
  sandbox.peer.raw({ type: 'frame', session_id: 'sesn_x', seq: 1, body: { type: 'dance' } })
  const { reports } = sandbox.peer.conversation('sesn_x')
  expect(await sandbox.peer.until(() => reports[0])).toMatchObject({ type: 'refused', command: 'dance' })
  session.open()
  await session.report('started')
})

test('what is missing in the environment is named', async () => {
  await using sandbox = new TestSandbox(bundle)
  sandbox.startRunner({ BERTH_NONCE: '' })
  if (sandbox.runner !== undefined) await once(sandbox.runner, 'exit')
  expect(sandbox.runner?.exitCode).toBe(2)
  expect(sandbox.stderr).toContain('BERTH_NONCE is not set')
})

/** A call that lasts until it may end. */
const waiting = '::tool Bash {"command":"touch begun; until [ -e over ]; do sleep 0.05; done"}'

async function began({ config }: TestSession): Promise<void> {
  await expect.poll(() => existsSync(join(config.cwd, 'begun')), { timeout: 30_000 }).toBe(true)
}

function goOn({ config }: TestSession): void {
  writeFileSync(join(config.cwd, 'over'), '')
}

/** Numbers in [0, 1) that are the same in every run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}
