import { describe, expect } from 'vitest'
import { contentPath, filesOf, takeCheckpoint } from '../harness/berth-api.ts'
import { bash, untilTold } from '../harness/message.ts'
import { messagesOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

async function read(berth: TestBerth, id: string, path: string): Promise<{ status: number; body: string }> {
  const answer = await berth.fetch(contentPath(id, path))
  return { status: answer.status, body: await answer.text() }
}

async function write(berth: TestBerth, id: string, path: string, body: string): Promise<number> {
  return (await berth.fetch(contentPath(id, path), { method: 'PUT', body })).status
}

async function putAway(berth: TestBerth): Promise<{ id: string }> {
  const { id } = await berth.createSessionWith({ lifecycle: { type: 'hybrid', idle_timeout: 0 } })
  await berth.runTurn(id, ['First', bash('mkdir d; printf hello > d/f; ln -s f d/l'), '::next', '::text Done.'])
  await berth.untilPutAway()
  return { id }
}

const shown = [
  { name: 'f', path: '/workspace/d/f', type: 'file', size: 5, mode: '0644' },
  { name: 'l', path: '/workspace/d/l', type: 'symlink', target: 'f' },
]

describe('files of a session', () => {
  story('with a sandbox are those in it', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['First', bash('mkdir d; printf hello > d/f; ln -s f d/l'), '::next', '::text Done.'])
    expect(await filesOf(berth, id, 'd')).toMatchObject({ data: shown, is_truncated: false, checkpoint_id: null })
    expect(await read(berth, id, '/workspace/d/f')).toEqual({ status: 200, body: 'hello' })
    expect(await write(berth, id, 'new/deep/file', 'from outside')).toBe(200)
    const turn = await berth.runTurn(id, [
      'Second',
      bash('cat new/deep/file; stat -c %U new/deep/file; whoami'),
      '::next',
      '::text {{result}}',
    ])
    const [text = '', owner, who] = messagesOf(turn)[0]?.split('\n') ?? []
    expect(text).toMatch(/^from outside/)
    expect(owner ?? text.slice('from outside'.length)).toBe(who ?? owner)
  })

  story(
    'whose sandbox was put away are those of the checkpoint; writing brings it back for a while',
    async ({ berth }) => {
      const { id } = await putAway(berth)
      const list = await filesOf(berth, id, '/workspace/d')
      expect(list).toMatchObject({ data: shown, checkpoint_id: expect.stringMatching(/^chkp_/) })
      expect(await read(berth, id, 'd/f')).toEqual({ status: 200, body: 'hello' })
      expect(await write(berth, id, 'd/f', 'changed')).toBe(200)
      await berth.untilPutAway()
      expect(await filesOf(berth, id, 'd')).not.toMatchObject({ checkpoint_id: list.checkpoint_id })
      expect(await read(berth, id, 'd/f')).toEqual({ status: 200, body: 'changed' })
      const turn = await berth.runTurn(id, ['Second', bash('cat d/f'), '::next', '::text {{result}}'])
      expect(messagesOf(turn)).toEqual(['changed'])
    },
  )

  story('that are not there, or no files: says so', async ({ berth }) => {
    const { id } = await putAway(berth)
    for (const path of ['nope', '/etc/shadow', 'd/f/x']) expect((await read(berth, id, path)).status).toBe(404)
    expect((await read(berth, id, 'd')).status).toBe(400)
    expect((await read(berth, 'sesn_nope', 'd/f')).status).toBe(404)
    await berth.runTurn(id, ['Second', '::text Awake.'])
    await using held = await berth.watch(id)
    await berth.send(id, ['Third', untilTold, '::next', '::text Told.'])
    await held.first('agent.tool_use')
    expect((await read(berth, id, 'nope')).status).toBe(404)
    expect((await read(berth, id, '/run/berth/link/link.sock')).status).toBeGreaterThanOrEqual(400)
    expect((await read(berth, id, 'd')).status).toBe(400)
    await expect(takeCheckpoint(berth, id)).rejects.toThrow(/400.*within a turn/)
    expect(await write(berth, id, 'go', '')).toBe(200)
    await held.turn()
  })
})
