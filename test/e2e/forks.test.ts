import { describe, expect } from 'vitest'
import { checkpointsOf, fork, takeCheckpoint } from '../harness/berth-api.ts'
import { bash } from '../harness/message.ts'
import { messagesOf, onlyOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

const say = ['::next', '::text {{turns}} {{prompt:1}}: {{result}}']

/** Two turns, each with a file of its own, and a checkpoint behind each. */
async function twoTurns(berth: TestBerth): Promise<{ id: string; first: string; second: string }> {
  const { id } = await berth.createSession({ title: 'Original' })
  await berth.runTurn(id, ['One', bash('echo one > one'), '::next', '::text Did one.'])
  const first = await takeCheckpoint(berth, id)
  await berth.runTurn(id, ['Two', bash('echo two > two'), '::next', '::text Did two.'])
  const second = await takeCheckpoint(berth, id)
  return { id, first: first.id, second: second.id }
}

async function refusal(berth: TestBerth, id: string, body: object): Promise<{ status: number; message: string }> {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const answer = await berth.fetch(`/berth/v1/sessions/${id}/fork`, init)
  return { status: answer.status, message: await answer.text() }
}

describe('a fork', () => {
  story('at a checkpoint has the history and the files of then, and both go on by themselves', async ({ berth }) => {
    const { id, first } = await twoTurns(berth)
    const forked = await fork(berth, id, { checkpoint_id: first, title: 'Fork' })
    berth.adopt(forked.session.id)
    const [original] = (await checkpointsOf(berth, id)).filter((one) => one.id === first)
    expect(forked).toMatchObject({ checkpoint_id: first, workspace_as_of: original?.created_at })
    expect(forked.session).toMatchObject({ title: 'Fork', status: 'idle' })
    const texts = messagesOf(await berth.list(forked.session.id))
    expect(texts).toEqual(['Did one.'])
    const inFork = await berth.runTurn(forked.session.id, ['Look', bash('ls; echo fork > mine'), ...say])
    expect(messagesOf(inFork)).toEqual(['2 One: one'])
    const inOriginal = await berth.runTurn(id, ['Look', bash('ls'), ...say])
    expect(messagesOf(inOriginal)).toEqual(['3 One: one\ntwo'])
    expect(messagesOf(await berth.runTurn(forked.session.id, ['Again', bash('ls'), ...say]))).toEqual([
      '3 One: mine\none',
    ])
  })

  story('at an event has the log up to it, with ids of its own, and the last files not after it', async ({ berth }) => {
    const { id, first } = await twoTurns(berth)
    const log = await berth.list(id)
    const idle = log.findIndex(({ type }) => type === 'session.status_idle')
    const forked = await fork(berth, id, { event_id: log[idle]?.id ?? '' })
    berth.adopt(forked.session.id)
    expect(forked.checkpoint_id).toBe(first)
    const copy = await berth.list(forked.session.id)
    const bare = (events: typeof log) => events.map(({ type }) => type)
    expect(bare(copy)).toEqual(bare(log.slice(0, idle + 1)))
    const ids = new Set(log.map((event) => event.id))
    expect(copy.filter((event) => ids.has(event.id))).toEqual([])
    expect(onlyOf(copy, 'agent.tool_result').tool_use_id).toBe(onlyOf(copy, 'agent.tool_use').id)
    const turn = await berth.runTurn(forked.session.id, ['Look', bash('true'), ...say])
    expect(messagesOf(turn)[0]).toMatch(/^2 One: /)
  })

  story('of a fork goes on from there', async ({ berth }) => {
    const { id, second } = await twoTurns(berth)
    const one = await fork(berth, id, { checkpoint_id: second })
    berth.adopt(one.session.id)
    await berth.runTurn(one.session.id, ['Three', bash('echo three > three'), '::next', '::text Did three.'])
    const three = await takeCheckpoint(berth, one.session.id)
    const two = await fork(berth, one.session.id, { checkpoint_id: three.id })
    berth.adopt(two.session.id)
    expect(messagesOf(await berth.runTurn(two.session.id, ['Look', bash('ls'), ...say]))).toEqual([
      '4 One: one\nthree\ntwo',
    ])
  })

  story('where there is nothing to fork from: says so', async ({ berth }) => {
    const { id, first } = await twoTurns(berth)
    const other = await berth.createSession()
    const log = await berth.list(id)
    const call = log.find(({ type }) => type === 'agent.tool_use')?.id
    expect(await refusal(berth, id, { event_id: call })).toMatchObject({
      status: 400,
      message: expect.stringMatching(/event_id: is within a turn/),
    })
    expect(await refusal(berth, other.id, { checkpoint_id: first })).toMatchObject({
      status: 404,
      message: expect.stringContaining(first),
    })
    expect(await refusal(berth, id, { checkpoint_id: 'chkp_nope' })).toMatchObject({ status: 404 })
    expect(await refusal(berth, id, { event_id: 'sevt_nope' })).toMatchObject({ status: 404 })
    expect(await refusal(berth, 'sesn_nope', { checkpoint_id: first })).toMatchObject({ status: 404 })
    expect(await refusal(berth, id, {})).toMatchObject({
      status: 400,
      message: expect.stringMatching(/checkpoint_id or event_id/),
    })
    expect(await refusal(berth, id, { event_id: call, checkpoint_id: first })).toMatchObject({ status: 400 })
  })
})
