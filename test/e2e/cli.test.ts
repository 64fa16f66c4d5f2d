import { describe, expect } from 'vitest'
import { z } from 'zod'
import { BerthProcess, type Ended } from '../../packages/cli/test/berth-process.ts'
import { tool } from '../harness/message.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'

const event = z.looseObject({ type: z.string(), id: z.string().optional() })

function start(berth: TestBerth, ...args: string[]): BerthProcess {
  return new BerthProcess(args, { BERTH_URL: berth.server.url, BERTH_API_KEY: berth.server.apiKey })
}

async function run(berth: TestBerth, ...args: string[]): Promise<Ended> {
  using berthProcess = start(berth, ...args)
  return await berthProcess.ended
}

/** Throws unless every line is an event. */
function parseLines(out: string): z.infer<typeof event>[] {
  expect(out.endsWith('\n')).toBe(true)
  return out
    .trimEnd()
    .split('\n')
    .map((line) => event.parse(JSON.parse(line)))
}

async function newestSession(berth: TestBerth) {
  const page = await berth.client.beta.sessions.list({ limit: 1, include_archived: true })
  const [session] = page.data
  if (session === undefined) throw new Error('there is no session')
  return session
}

async function deleteNewest(berth: TestBerth): Promise<void> {
  await berth.client.beta.sessions.delete((await newestSession(berth)).id)
}

describe('berth run', () => {
  story('shows what the agent does and archives the session', async ({ berth }) => {
    const script = [
      'Please work',
      '::text I look.',
      tool('Bash', { command: 'echo $((6*7))' }),
      '::next',
      '::text It is {{result}}.',
    ]
    const { code, out } = await run(berth, 'run', script.join('\n'))
    expect(code).toBe(0)
    expect(out).toContain('I look.')
    expect(out).toContain('It is 42.')
    expect(out).not.toContain('\u001b')
    expect(await newestSession(berth)).toMatchObject({ status: 'terminated' })
    await deleteNewest(berth)
  })

  story('--json prints the events of the turn, each a line, and nothing else', async ({ berth }) => {
    const { code, out, err } = await run(berth, 'run', '--json', '--keep', 'Please talk\n::text Said.')
    expect(code).toBe(0)
    const lines = parseLines(out)
    expect(lines.at(-1)?.type).toBe('session.status_idle')
    expect(err).not.toContain('{"')
    const session = await newestSession(berth)
    expect(session.status).toBe('idle')
    const listed = await berth.list(session.id)
    const shown = lines.map(({ id }) => id).filter((id, index, all) => all.lastIndexOf(id) === index)
    expect(shown).toEqual(listed.map(({ id }) => id))
    const logs = await run(berth, 'sessions', 'logs', '--json', session.id)
    expect(logs.code).toBe(0)
    expect(parseLines(logs.out)).toEqual(listed)
    await deleteNewest(berth)
  })

  story('ends with 1 when the turn fails, with 3 when nobody can say yes', async ({ berth }) => {
    const failed = await run(berth, 'run', '--json', 'Please fail\n::error 403 permission_error No.')
    expect(failed.code).toBe(1)
    expect(parseLines(failed.out).map(({ type }) => type)).toContain('session.error')
    await deleteNewest(berth)

    const agent = await berth.createAgent({
      tools: [{ type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'always_ask' } } }],
    })
    const waits = await run(berth, 'run', '--agent', agent.id, ['Ask', tool('Bash', { command: 'true' })].join('\n'))
    expect(waits.code).toBe(3)
    await deleteNewest(berth)
  })

  story('Ctrl-C interrupts the agent', async ({ berth }) => {
    using berthProcess = start(berth, 'run', '--json', 'Please hang\n::hang')
    await waitUntil('the model is asked', () => berth.modelCalls('Please hang').length > 0)
    berthProcess.signal('SIGINT')
    const { code, out } = await berthProcess.ended
    expect(code).toBe(130)
    expect(parseLines(out).at(-1)).toMatchObject({ type: 'session.status_idle', stop_reason: { type: 'end_turn' } })
    await deleteNewest(berth)
  })

  story('says what is wrong in one line when there is no server or no right', async ({ berth }) => {
    using stranger = new BerthProcess(['run', 'Hello'], { BERTH_URL: berth.server.url, BERTH_API_KEY: 'k'.repeat(32) })
    const refused = await stranger.ended
    expect(refused.code).toBe(1)
    expect(refused.err).toMatch(/^berth: .*key.*\n$/)
    expect(refused.out).toBe('')
  })
})

describe('berth sessions', () => {
  story('logs -f shows what was and what comes, until the session ends', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['Before', '::text It was.'])
    using following = start(berth, 'sessions', 'logs', '-f', '--json', id)
    await waitUntil('the past is shown', () => following.out.includes('It was.'))
    await berth.runTurn(id, ['After', '::text It comes.'])
    await berth.client.beta.sessions.archive(id)
    const { code, out } = await following.ended
    expect(code).toBe(0)
    const lines = parseLines(out)
    const shown = lines.map((line) => line.id).filter((one, index, all) => all.lastIndexOf(one) === index)
    expect(shown).toEqual((await berth.list(id)).map((one) => one.id))
    expect(lines.at(-1)?.type).toBe('session.status_terminated')
  })

  story('ls, show and rm are what the API says', async ({ berth }) => {
    const { id } = await berth.createSession({ title: 'A title' })
    const { out } = await run(berth, 'sessions', 'ls')
    expect(out).toContain(id)
    expect(out).toContain('A title')
    const shown = await run(berth, 'sessions', 'show', '--json', id)
    const session = await berth.client.beta.sessions.retrieve(id)
    expect(JSON.parse(shown.out)).toMatchObject({ id, title: 'A title', created_at: session.created_at })
    expect(await run(berth, 'sessions', 'rm', id)).toMatchObject({ code: 0, out: `${id}\n` })
    expect(await run(berth, 'sessions', 'show', id)).toMatchObject({ code: 1, out: '' })
  })
})
