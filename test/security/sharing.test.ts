/** Two sessions that live in one sandbox: each tries what the other has, and neither gets it. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { bash } from '../harness/message.ts'
import { messagesOf, onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { startTestBerth, type TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'
import { Tally } from './tally.ts'

const attempt = z.object({ case: z.number(), tried: z.string(), outcome: z.string() })
// Processes are started anew, on a machine that may have other things to do.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })
const soon = (): AbortSignal => AbortSignal.timeout(100_000)
/** Processes of each session between its turns. */
const LASTING = 4

let berth: TestBerth
let sessions: { id: string; uid: number }[]
const tally = new Tally('sharing')

beforeAll(async () => {
  berth = await startTestBerth()
  const config = {
    type: 'cloud' as const,
    networking: { type: 'limited' as const, allowed_hosts: ['allowed.test'] },
    berth: { lifecycle: { type: 'long_running' } },
  }
  const { id: environment_id } = await berth.createEnvironment({ config })
  const named = { berth: { sandbox: 'site' } }
  const create = async (): Promise<string> => (await berth.createSession({ environment_id, ...named })).id
  const source = (await readFile(join(import.meta.dirname, 'inside/colleague.mjs'))).toString('base64')
  const belongings = [
    `echo ${source} | base64 -d > colleague.mjs`,
    'umask 077; echo secret > secret; echo secret > /tmp/secret-$(id -u); echo secret > /dev/shm/secret-$(id -u)',
    '(script -qc "sleep 500" /dev/null > /dev/null 2>&1 &); (sleep 500 > /dev/null 2>&1 &); id -u',
  ]
  sessions = []
  for (const id of [await create(), await create()])
    sessions.push({ id, uid: Number(await run(id, belongings.join('\n'))) })
})
afterAll(async () => {
  await using _berth = berth
  tally.end()
})

async function run(id: string, command: string): Promise<string> {
  const turn = await berth.runTurn(id, ['Run', bash(command), '::next', '::text Done.'], soon())
  return textOf(onlyOf(turn, 'agent.tool_result').content).trim()
}

const hidden = 'ENOENT'
const wanted = {
  'ports of others': 'some',
  'their way out with no password': '407',
  'their way out with the own password': '407',
  'their way out with an empty password': '407',
  'their way out with a longer password': '407',
  'their way out with the password for the server': '407',
  // Its host is nowhere; that it may be asked for shows what a right password is worth.
  'the own way out': '502',
  'their model.sock': 'EACCES',
  'their egress.sock': 'EACCES',
  'sockets of others': '',
  'processes that are there': 'some',
  'their environ': hidden,
  'their cmdline': hidden,
  'their maps': hidden,
  'their status': hidden,
  'their auxv': hidden,
  'their stat': hidden,
  'their cwd': hidden,
  'their exe': hidden,
  'their root': hidden,
  'their descriptors': hidden,
  'their threads': hidden,
  'their memory': hidden,
  'their output': hidden,
  'their score': hidden,
  'a SIGTERM': 'EPERM',
  'a SIGSTOP': 'EPERM',
  'a SIGUSR1': 'EPERM',
  'a SIGKILL for their groups': 'EPERM',
  'their priority': 'EPERM',
  'their limits': 'none',
  'what they have in /dev/pts': 'seen EACCES',
  'what they have in /dev/shm': 'seen EACCES',
  'what they have in /tmp': 'seen EACCES',
  'watch /home//.claude': 'EACCES',
  'go through /home//.claude': 'EACCES',
  'watch /home//.tmp': 'EACCES',
  'go through /home//.tmp': 'EACCES',
  'watch /workspace/': 'EACCES',
  'go through /workspace/': 'EACCES',
  'memory and queues of System V': 'none',
}

test('neither reaches the other’s way out, sockets, processes, terminals or files', async () => {
  const [one, two] = sessions
  if (one === undefined || two === undefined) throw new Error('there are two')
  const attack = async (self: string, other: { id: string; uid: number }): Promise<Record<string, string>> => {
    const lines = (await run(self, `/opt/berth/node colleague.mjs ${other.id} ${other.uid}`)).split('\n')
    return Object.fromEntries(
      lines.map((line) => attempt.parse(JSON.parse(line))).map(({ tried, outcome }) => [tried, outcome]),
    )
  }
  // Both at a time: the one who is attacked is at work.
  const found = await Promise.all([attack(one.id, two), attack(two.id, one)])
  for (const outcomes of found) tally.expectAll(outcomes, wanted)
})

test('one that ends all it can reach ends nothing of the other', async () => {
  const [one, two] = sessions
  if (one === undefined || two === undefined) throw new Error('there are two')
  const sandbox = await SessionSandbox.of(berth.traces, one.id)
  const host = (uid: number): number => (sandbox.ref.uidBase ?? 0) + uid
  const pidsOf = async (uid: number): Promise<number[]> => {
    const found = await Promise.all(
      (await sandbox.processes()).map(async ({ pid }) => ({
        pid,
        status: await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''),
      })),
    )
    return found.filter(({ status }) => status.includes(`Uid:\t${host(uid)}\t`)).map(({ pid }) => pid)
  }
  // The agent's process and what it was told to leave running. What its last turn has started besides ends by itself.
  const mine = await waitUntil('there is only what lasts', async () => {
    const pids = await pidsOf(one.uid)
    return pids.length === LASTING && pids
  })
  const runner = await pidsOf(0)
  const kill = '[ -e killed ] || { touch killed; kill -9 -1; }'
  const turn = await berth.runTurn(two.id, ['Kill', bash(kill), '::next', '::text Went on.'], soon())
  expect(messagesOf(turn)).toEqual(['Went on.'])
  const left = new Set([...(await pidsOf(one.uid)), ...(await pidsOf(0))])
  const ended = (pids: readonly number[]): number[] => pids.filter((pid) => !left.has(pid))
  tally.expectAll(
    { 'the other’s processes': ended(mine), 'the runner': ended(runner) },
    { 'the other’s processes': [], 'the runner': [] },
  )
  expect(await run(one.id, 'cat secret')).toBe('secret')
})
