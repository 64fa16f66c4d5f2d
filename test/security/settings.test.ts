/** Nothing that an agent leaves in its workspace or its home configures the platform's agent: neither now nor after a restart or a restore. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { contentPath, filesOf, takeCheckpoint } from '../harness/berth-api.ts'
import { untilParked } from '../harness/parked-turn.ts'
import { bash, tool } from '../harness/message.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { untilCallsShipped } from '../harness/shipped.ts'
import { startTestBerth, type AgentParams, type TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'
import { Tally } from './tally.ts'

const MARKS = '/workspace/marks'
const forbidden = tool('Write', { file_path: '/workspace/forbidden', content: 'x' })
/** Every stage starts processes anew, on a machine that may have other things to do. */
const TIMEOUT_MS = 240_000
const soon = (): AbortSignal => AbortSignal.timeout(100_000)
const planted = z.object({ case: z.number(), tried: z.string(), outcome: z.literal('planted') })

let berth: TestBerth
const tally = new Tally('settings')
beforeAll(async () => {
  berth = await startTestBerth()
})
afterAll(async () => {
  await using _berth = berth
  tally.end()
})

/** A session whose agent is asked before each use of that tool. */
async function sessionThatAsks(name: 'write' | 'bash'): Promise<string> {
  const asked = { name, permission_policy: { type: 'always_ask' as const } }
  const tools: AgentParams['tools'] = [{ type: 'agent_toolset_20260401', configs: [asked] }]
  const agent = await berth.createAgent({ tools })
  return (await berth.createSessionWith({ lifecycle: { type: 'long_running' } }, { agent: agent.id })).id
}

interface Asked {
  readonly calls: readonly string[]
  /** What the tools before have said. */
  readonly seen: string
}

/** Runs a turn up to the call that has to be asked for. */
async function untilAsked(id: string, prompt: readonly string[]): Promise<Asked> {
  const turn = await berth.runTurn(id, [...prompt, '::next', '::text Done.'], soon())
  const reason = onlyOf(turn, 'session.status_idle').stop_reason
  tally.count(reason.type === 'requires_action')
  if (reason.type !== 'requires_action') throw new Error(`nothing was asked: ${JSON.stringify(reason)}`)
  const seen = ofType(turn, 'agent.tool_result').map(({ content }) => textOf(content))
  return { calls: reason.event_ids, seen: seen.join('') }
}

async function answer(id: string, { calls }: Asked, result: 'allow' | 'deny'): Promise<string[]> {
  await using events = await berth.watch(id)
  const confirmation = { type: 'user.tool_confirmation' as const, result }
  await berth.client.beta.sessions.events.send(id, {
    events: calls.map((tool_use_id) => ({ ...confirmation, tool_use_id })),
  })
  return messagesOf(await events.turn(0, soon()))
}

/** Names in a directory of the session's, and none where there is no such directory. */
async function namesIn(id: string, path: string): Promise<string[]> {
  return (await filesOf(berth, id, path)).data.map(({ name }) => name)
}

/** What has been left behind, each by the name of its mark. */
async function devicesOf(id: string): Promise<string[]> {
  const lines = await (await berth.fetch(contentPath(id, '/workspace/devices'))).text()
  return lines
    .trim()
    .split('\n')
    .map((line) => planted.parse(JSON.parse(line)).tried)
}

/** Resolves when the agent's process is gone: what comes then starts another. */
async function endProcess(id: string): Promise<void> {
  const sandbox = await SessionSandbox.of(berth.traces, id)
  const { pid } = await sandbox.cli()
  process.kill(pid, 'SIGKILL')
  await waitUntil('the process is gone', async () => (await sandbox.processes()).every((one) => one.pid !== pid))
}

async function expectNoneObeyed(id: string, devices: readonly string[]): Promise<void> {
  const marks = await namesIn(id, MARKS)
  for (const device of devices) tally.count(!marks.includes(device))
  expect(marks).toEqual([])
}

test(
  'settings, hooks, servers, plugins and programs that the agent leaves behind are not obeyed',
  async () => {
    const id = await sessionThatAsks('write')
    const source = await readFile(join(import.meta.dirname, 'inside/plant.mjs'))
    const plant = `echo ${source.toString('base64')} | base64 -d > /tmp/plant.mjs; /opt/berth/node /tmp/plant.mjs ${MARKS} > devices`
    await berth.runTurn(id, ['Plant', bash(plant), '::next', '::text Planted.'], soon())
    const devices = await devicesOf(id)
    expect(devices.length).toBeGreaterThan(100)

    const loseAll = async (): Promise<void> => {
      await takeCheckpoint(berth, id)
      await (await SessionSandbox.of(berth.traces, id)).kill({ disk: 'lost' })
    }
    // Without hooks the platform's own would be missing, too.
    const mute = async (): Promise<void> => {
      const body = JSON.stringify({ disableAllHooks: true, permissions: { allow: ['Write'] } })
      for (const path of ['/workspace/.claude/settings.local.json', `/home/${id}/.claude/settings.local.json`])
        expect((await berth.fetch(contentPath(id, path), { method: 'PUT', body })).status).toBe(200)
      await endProcess(id)
    }
    // A process of its own is started for the second and for the third.
    const stages = { 'the same process': () => undefined, 'one of a checkpoint': loseAll, 'one without hooks': mute }
    for (const [stage, begin] of Object.entries(stages)) {
      await begin()
      const look = bash(
        "env | grep -c '[P]LANTED'; cat ~/.claude/projects/session/* | grep -c 'PLANTED-[M]EMORY'; true",
      )
      const asked = await untilAsked(id, [stage, look, '::next', forbidden])
      expect(await answer(id, asked, 'deny')).toEqual(['Done.'])
      tally.expectAll({ [stage]: asked.seen }, { [stage]: '0\n0' })
      await expectNoneObeyed(id, devices)
      const [call] = berth.modelCalls(stage)
      expect(call?.tools.filter((name) => /mcp|planted/.test(name))).toEqual([])
    }
    expect(await namesIn(id, '/workspace')).not.toContain('forbidden')

    // One that waits while everything is lost, and is carried out by a process of its own.
    const asked = await untilAsked(id, ['Held', forbidden])
    await untilCallsShipped(berth.dir, id)
    await (await SessionSandbox.of(berth.traces, id)).kill({ disk: 'kept' })
    await untilParked(berth.dir, id, 'sandbox')
    expect(await answer(id, asked, 'allow')).toEqual(['Done.'])
    expect(await namesIn(id, '/workspace')).toContain('forbidden')
    await expectNoneObeyed(id, devices)

    // The same files, read by a process that is not the platform's: they work.
    const seen = "grep -qs 'PLANTED-[M]EMORY' ~/.claude/projects/session/*"
    const own = [
      'rm -f .claude/settings.local.json ~/.claude/settings.local.json',
      '(timeout 60 /opt/berth/claude -p hello < /dev/null > /dev/null 2>&1 &)',
      `for n in $(seq 400); do [ -e marks/home-SessionStart ] && [ -e marks/workspace-SessionStart ] && ${seen} && break; sleep 0.1; done`,
    ].join('; ')
    await berth.runTurn(id, ['Own', bash(own), '::next', '::text Done.'], soon())
    const obeyed = await namesIn(id, MARKS)
    expect(obeyed.join(' ')).toMatch(/home-SessionStart/)
    expect(obeyed.join(' ')).toMatch(/workspace-SessionStart/)
    const remembered = bash("cat ~/.claude/projects/session/* | grep -c 'PLANTED-[M]EMORY'; true")
    const turn = await berth.runTurn(id, ['Remembered', remembered, '::next', '::text {{result}}'], soon())
    expect(messagesOf(turn).join()).toMatch(/^[1-9]/)
  },
  TIMEOUT_MS,
)

test(
  'start-up files of shells are not run before a command was allowed',
  async () => {
    const id = await sessionThatAsks('bash')
    const names = ['.bashrc', '.profile', '.bash_profile', '.bash_login', '.bash_logout', '.zshenv', '.zshrc']
    const files = names.map((name) =>
      tool('Write', { file_path: `/home/${id}/${name}`, content: `mkdir -p ${MARKS}; touch ${MARKS}/shell${name}\n` }),
    )
    await berth.runTurn(id, ['Plant', ...files, '::next', '::text Planted.'], soon())
    expect(await namesIn(id, `/home/${id}`)).toEqual(expect.arrayContaining(names))
    for (const stage of ['the same process', 'one started later']) {
      if (stage !== 'the same process') await endProcess(id)
      await answer(id, await untilAsked(id, [stage, bash('echo $$')]), 'deny')
      const marks = await namesIn(id, '/workspace')
      for (const name of names) tally.count(!marks.includes(`shell${name}`) && marks.length === 0)
      expect(marks).toEqual([])
    }
    // A command that was allowed reads them, as it does for everybody.
    await answer(id, await untilAsked(id, ['Allowed', bash('echo $$')]), 'allow')
    expect((await namesIn(id, MARKS)).length).toBeGreaterThan(0)
  },
  TIMEOUT_MS,
)
