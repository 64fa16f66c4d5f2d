/** Nothing that an agent leaves in its workspace or its home configures the platform's agent: neither now nor after a restart or a restore. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { contentPath, takeCheckpoint } from '../harness/berth-api.ts'
import { untilParked } from '../harness/parked-turn.ts'
import { bash, tool } from '../harness/message.ts'
import { messagesOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { untilCallsShipped } from '../harness/shipped.ts'
import { startTestBerth, type AgentParams, type TestBerth } from '../harness/test-berth.ts'
import { Planting, plantCommand } from './planting.ts'
import { Tally } from './tally.ts'

const forbidden = tool('Write', { file_path: '/workspace/forbidden', content: 'x' })
/** Every stage starts processes anew, on a machine that may have other things to do. */
const TIMEOUT_MS = 240_000
const soon = (): AbortSignal => AbortSignal.timeout(100_000)
const MARKS = Planting.marks

let berth: TestBerth
let planting: Planting
const tally = new Tally('settings')
beforeAll(async () => {
  berth = await startTestBerth()
  planting = new Planting(berth)
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

async function expectNoneObeyed(id: string, devices: readonly string[]): Promise<void> {
  const marks = await planting.namesIn(id, MARKS)
  for (const device of devices) tally.count(!marks.includes(device))
  expect(marks).toEqual([])
}

test(
  'settings, hooks, servers, plugins and programs that the agent leaves behind are not obeyed',
  async () => {
    const id = await sessionThatAsks('write')
    await berth.runTurn(id, ['Plant', bash(await plantCommand()), '::next', '::text Planted.'], soon())
    const devices = await planting.devicesOf(id)
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
      await planting.endProcess(id)
    }
    // A process of its own is started for the second and for the third.
    const stages = { 'the same process': () => undefined, 'one of a checkpoint': loseAll, 'one without hooks': mute }
    for (const [stage, begin] of Object.entries(stages)) {
      await begin()
      const look = bash(
        "env | grep -c '[P]LANTED'; cat ~/.claude/projects/session/* | grep -c 'PLANTED-[M]EMORY'; true",
      )
      const asked = await planting.untilAsked(id, [stage, look, '::next', forbidden])
      expect(await planting.answer(id, asked, 'deny')).toEqual(['Done.'])
      tally.expectAll({ [stage]: asked.seen }, { [stage]: '0\n0' })
      await expectNoneObeyed(id, devices)
      const [call] = berth.modelCalls(stage)
      expect(call?.tools.filter((name) => /mcp|planted/.test(name))).toEqual([])
    }
    expect(await planting.namesIn(id, '/workspace')).not.toContain('forbidden')

    // One that waits while everything is lost, and is carried out by a process of its own.
    const asked = await planting.untilAsked(id, ['Held', forbidden])
    await untilCallsShipped(berth.dir, id)
    await (await SessionSandbox.of(berth.traces, id)).kill({ disk: 'kept' })
    await untilParked(berth.dir, id, 'sandbox')
    expect(await planting.answer(id, asked, 'allow')).toEqual(['Done.'])
    expect(await planting.namesIn(id, '/workspace')).toContain('forbidden')
    await expectNoneObeyed(id, devices)

    // The same files, read by a process that is not the platform's: they work.
    const seen = "grep -qs 'PLANTED-[M]EMORY' ~/.claude/projects/session/*"
    const own = [
      'rm -f .claude/settings.local.json ~/.claude/settings.local.json',
      '(timeout 60 /opt/berth/claude -p hello < /dev/null > /dev/null 2>&1 &)',
      `for n in $(seq 400); do [ -e marks/home-SessionStart ] && [ -e marks/workspace-SessionStart ] && ${seen} && break; sleep 0.1; done`,
    ].join('; ')
    await berth.runTurn(id, ['Own', bash(own), '::next', '::text Done.'], soon())
    const obeyed = await planting.namesIn(id, MARKS)
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
    expect(await planting.namesIn(id, `/home/${id}`)).toEqual(expect.arrayContaining(names))
    for (const stage of ['the same process', 'one started later']) {
      if (stage !== 'the same process') await planting.endProcess(id)
      await planting.answer(id, await planting.untilAsked(id, [stage, bash('echo $$')]), 'deny')
      const marks = await planting.namesIn(id, '/workspace')
      for (const name of names) tally.count(!marks.includes(`shell${name}`) && marks.length === 0)
      expect(marks).toEqual([])
    }
    // A command that was allowed reads them, as it does for everybody.
    await planting.answer(id, await planting.untilAsked(id, ['Allowed', bash('echo $$')]), 'allow')
    expect((await planting.namesIn(id, MARKS)).length).toBeGreaterThan(0)
  },
  TIMEOUT_MS,
)
