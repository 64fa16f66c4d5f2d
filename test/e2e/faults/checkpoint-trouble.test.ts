import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkpointsOf } from '../../harness/berth-api.ts'
import type { ServerProcess } from '../../harness/berth-server.ts'
import { bash } from '../../harness/message.ts'
import { messagesOf, ofType } from '../../harness/reading.ts'
import { SessionSandbox } from '../../harness/session-sandbox.ts'
import { startKillableBerth, type TestBerth } from '../../harness/test-berth.ts'

async function createSession(berth: TestBerth): Promise<string> {
  return (await berth.createSessionWith({ lifecycle: { type: 'hybrid', idle_timeout: 0 } })).id
}

/** A turn, at whose end the sandbox is put away. */
async function work(berth: TestBerth, id: string, prompt: string, command: string): Promise<string[]> {
  const turn = await berth.runTurn(id, [prompt, bash(command), '::next', '::text {{result}}'])
  await berth.untilPutAway()
  return messagesOf(turn)
}

async function packsOf(berth: TestBerth): Promise<string[]> {
  const entries = await readdir(join(berth.dir, 'blobs'), { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

/** While no server runs: one keeps what it has read, at its start too. */
async function damage({ server }: TestBerth<ServerProcess>, paths: readonly string[]): Promise<void> {
  await server.kill()
  for (const path of paths) {
    const bytes = await readFile(path)
    await writeFile(path, bytes.fill(0x55, Math.floor(bytes.length / 2)))
  }
  await server.restart()
}

function told(berth: TestBerth, prompt: string): string {
  return JSON.stringify(berth.modelCalls(prompt)[0]?.last_user)
}

describe('a checkpoint whose bytes are damaged', () => {
  test('is named, and the one before it is used; what is saved from then on is whole', async () => {
    await using berth = await startKillableBerth()
    const id = await createSession(berth)
    await work(berth, id, 'One', 'echo one > one')
    const before = new Set(await packsOf(berth))
    await work(berth, id, 'Two', 'echo two > two')
    const [second, first] = await checkpointsOf(berth, id)
    const ofSecond = (await packsOf(berth)).filter((path) => !before.has(path))
    await damage(berth, ofSecond)
    await using events = await berth.watch(id)
    expect(await work(berth, id, 'Three', 'cat one; ls; echo two > two')).toEqual(['one\none'])
    expect(ofType(events.events, 'session.error').map(({ error }) => error.message)).toEqual([
      expect.stringContaining(`${second?.id} is damaged`),
    ])
    expect(told(berth, 'Three')).toContain(`files are as they were at ${first?.created_at}`)
    await berth.server.restart()
    // The same bytes as the damaged ones: they were not taken for those.
    expect(await work(berth, id, 'Four', 'cat one two')).toEqual(['one\ntwo'])
    const body = JSON.stringify({ checkpoint_id: second?.id })
    const headers = { 'content-type': 'application/json' }
    const fork = await berth.fetch(`/berth/v1/sessions/${id}/fork`, { method: 'POST', headers, body })
    expect([fork.status, await fork.text()]).toEqual([400, expect.stringContaining('checkpoint_id: is damaged')])
    await berth.assertClean()
  })

  test('and all before it, too: the session goes on without files, and says so', async () => {
    await using berth = await startKillableBerth()
    const id = await createSession(berth)
    await work(berth, id, 'One', 'echo one > one')
    await damage(berth, await packsOf(berth))
    expect(await work(berth, id, 'Two', 'ls | wc -l')).toEqual(['0'])
    expect(told(berth, 'Two')).toContain('files that were written in the old one are gone')
    await berth.assertClean()
  })
})

test('a workspace over its limits: the session says why, keeps its sandbox, and is saved when it fits', async () => {
  await using berth = await startKillableBerth()
  const id = await createSession(berth)
  await using events = await berth.watch(id)
  // Sparse: it takes no room on the disk, and counts in full.
  await berth.runTurn(id, ['Big', bash('echo note > note; truncate -s 40G big'), '::next', '::text Done.'])
  const error = await events.until('it says why', () => events.all('session.error')[0])
  expect(error.error.message).toMatch(/could not be saved, its sandbox stays: .*\/workspace\/big/)
  const { pid } = await (await SessionSandbox.of(berth.traces, id)).cli()
  const turn = await berth.runTurn(id, ['Look', bash('cat note; rm big'), '::next', '::text {{result}}'])
  expect(messagesOf(turn)).toEqual(['note'])
  expect(pid).toBeGreaterThan(0)
  await berth.untilPutAway()
  expect(await work(berth, id, 'After', 'cat note')).toEqual(['note'])
  await berth.assertClean()
})
