import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { ChannelPair, limits, playSave, root, segmentsOf, sha, textOf, type Tree } from '../../test/archive-peer.ts'
import {
  type ArchiveWorld,
  blobKeys,
  checkpoint,
  newSession,
  now,
  openArchiveWorld,
  restored,
  workspaceId,
} from '../../test/archive-world.ts'
import { toSegments } from '../domain/checkpoint.ts'

const random = (bytes: number): { bytes: Uint8Array } => ({ bytes: new Uint8Array(randomBytes(bytes)) })
const text = (content: string): { bytes: Uint8Array } => ({ bytes: new TextEncoder().encode(content) })

const tree: Tree = {
  empty: text(''),
  'large.bin': random(3 * 1024 * 1024 + 17),
  'sparse.img': { hole: 5 * 1024 * 1024 + 1 },
  src: { dir: true },
  'src/a.ts': text('export const a = 1\n'),
  'src/again.ts': { hard: 'src/a.ts' },
  'src/ümlaut 日本.txt': text('ü'),
  'src-after': text('sorts between src and its children in plain order'),
  to: { link: '../../etc/passwd' },
}

function many(count: number, salt: string): Tree {
  const files = Array.from({ length: count }, (_, n) => [
    `d${n % 10}/f${n}`,
    text(`${salt} ${n} ${'x'.repeat(n % 500)}`),
  ])
  const dirs = Array.from({ length: 10 }, (_, n) => [`d${n}`, { dir: true }])
  return Object.fromEntries([...dirs, ...files])
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of body) parts.push(part)
  return Buffer.concat(parts)
}

async function packsOf({ blobs }: ArchiveWorld): Promise<string[]> {
  return blobKeys(blobs)
}

test('what is saved comes back', async () => {
  await using world = await openArchiveWorld()
  const session = await newSession(world.store)
  const { id } = await checkpoint(world, session, tree)
  expect(await restored(world.archives, id)).toEqual(tree)
  const row = await world.store.findNewestCheckpoint({ sessionId: session })
  expect(row).toMatchObject({ id, entries: Object.keys(tree).length + 1, session_id: session, why: 'turn_over' })
})

test('a server that starts again reads what the one before has saved', async () => {
  await using disk = await openArchiveWorld()
  const { id } = await checkpoint(disk, await newSession(disk.store), tree)
  await using again = await openArchiveWorld(disk.dir)
  expect(await restored(again.archives, id)).toEqual(tree)
})

test('an unchanged tree costs nothing, a changed file what it holds', async () => {
  await using world = await openArchiveWorld()
  const session = await newSession(world.store)
  const files = many(3_000, 'a')
  const first = await checkpoint(world, session, files)
  const packs = await packsOf(world)
  const second = await checkpoint(world, session, files, { base: first.id })
  expect(second).toMatchObject({ sentBytes: 0, storedBytes: 0 })
  expect(await packsOf(world)).toEqual(packs)
  const changed = { ...files, 'd3/f3': random(10_000) }
  const third = await checkpoint(world, session, changed, { base: second.id })
  expect(third.sentBytes).toBe(10_000)
  expect(third.storedBytes).toBeLessThan(40_000)
  expect(await packsOf(world)).toHaveLength(packs.length + 1)
  expect(await restored(world.archives, third.id)).toEqual(changed)
  expect(await restored(world.archives, first.id)).toEqual(files)
})

test('equal bytes are stored once in a workspace, and again in another', async () => {
  await using world = await openArchiveWorld()
  const files = { big: random(2_000_000), twin: { dir: true }, 'twin/big': random(10) } as const
  const twice: Tree = { ...files, 'twin/big': files.big }
  const one = await checkpoint(world, await newSession(world.store), twice)
  expect(one.sentBytes).toBe(2_000_000)
  const other = await checkpoint(world, await newSession(world.store), twice)
  // Sent, for a session is told of no other's bytes, but not stored.
  expect(other).toMatchObject({ sentBytes: 2_000_000, storedBytes: 0 })
  const workspace = 'wrkspc_other'
  const foreign = await checkpoint(world, await newSession(world.store, workspace), twice, { workspace })
  expect(foreign.storedBytes).toBeGreaterThan(2_000_000)
  expect(await restored(world.archives, other.id)).toEqual(twice)
  expect(await restored(world.archives, foreign.id, workspace)).toEqual(twice)
  await expect(restored(world.archives, other.id, workspace)).rejects.toThrow(`checkpoint ${other.id} does not exist`)
})

test('a fork keeps the files when the session that it came from is deleted', async () => {
  await using world = await openArchiveWorld()
  const [session, fork] = [await newSession(world.store), await newSession(world.store)]
  const { id } = await checkpoint(world, session, tree)
  const copy = { workspaceId, from: id, id: 'chkp_copy', sessionId: fork, seq: 0, now: now() }
  await world.store.copyCheckpoint(copy)
  await world.store.deleteSession({ workspaceId, sessionId: session, now: now() })
  await world.archives.collect({ workspaceId, signal: AbortSignal.timeout(10_000) })
  expect(await restored(world.archives, 'chkp_copy')).toEqual(tree)
  await world.store.deleteSession({ workspaceId, sessionId: fork, now: now() })
  await world.archives.collect({ workspaceId, signal: AbortSignal.timeout(10_000) })
  expect(await packsOf(world)).toEqual([])
})

test('a session keeps so many checkpoints, found by the place in its log', async () => {
  await using world = await openArchiveWorld()
  const session = await newSession(world.store)
  const ids: string[] = []
  for (let round = 0; round < 4; round++) {
    const { id, removed } = await checkpoint(world, session, { a: text(`${round}`) }, { keep: 2 })
    ids.push(id)
    expect(removed).toBe(round < 2 ? 0 : 1)
    await world.store.acceptEvents({
      workspaceId,
      sessionId: session,
      events: [{ type: 'user.message', content: [{ type: 'text', text: 'x' }] }],
      now: now(),
    })
  }
  const window = { order: 'desc', direction: 'forward', from: undefined, limit: 10, created: {} } as const
  const listed = await world.store.listCheckpoints({ workspaceId, sessionId: session, window })
  expect(listed.map(({ id }) => id)).toEqual([ids[3], ids[2]])
  const [newest, before] = listed
  const at = async (notAfter: number): Promise<string | undefined> =>
    (await world.store.findNewestCheckpoint({ sessionId: session, notAfter }))?.id
  expect(await at((newest?.seq ?? 0) + 5)).toBe(newest?.id)
  expect(await at((newest?.seq ?? 0) - 1)).toBe(before?.id)
  expect(await at((before?.seq ?? 0) - 1)).toBeUndefined()
})

test('a checkpoint of an old lease is refused and leaves nothing', async () => {
  await using world = await openArchiveWorld()
  const sessionId = await newSession(world.store)
  const until = new Date(Date.now() + 60_000).toISOString()
  await world.store.takeLease({ groupId: sessionId, holder: 'another', until, now: now() })
  await expect(checkpoint(world, sessionId, tree)).rejects.toMatchObject({ code: 'conflict' })
  expect(await packsOf(world)).toEqual([])
  expect(await world.store.listUncommittedPacks({ saveId: null })).toEqual([])
})

test('listing and reading without a sandbox', async () => {
  await using world = await openArchiveWorld()
  const { id } = await checkpoint(world, await newSession(world.store), tree)
  const at = { workspaceId, checkpoint: id }
  const names = async (path: string, limit = 100): Promise<unknown[]> =>
    (await world.archives.listFiles({ ...at, path, limit })).nodes.map(({ name, kind, size }) => [name, kind, size])
  expect(await names('/workspace/src/')).toEqual([
    ['a.ts', 'file', 19],
    ['again.ts', 'file', 19],
    ['ümlaut 日本.txt', 'file', 2],
  ])
  expect(await names('/workspace')).toHaveLength(6)
  expect(await names('/workspace/to')).toEqual([['to', 'link', 0]])
  expect(await world.archives.listFiles({ ...at, path: '/workspace', limit: 2 })).toMatchObject({ is_truncated: true })
  await expect(names('/workspace/none')).rejects.toMatchObject({ code: 'not_found' })
  await expect(names('/etc')).rejects.toMatchObject({ code: 'not_found' })
  for (const [path, node] of Object.entries(tree)) {
    const reading = world.archives.readFile({ ...at, path: `/workspace/${path}` })
    if ('dir' in node || 'link' in node) {
      await expect(reading).rejects.toMatchObject({ code: 'invalid_request' })
      continue
    }
    const { size, body } = await reading
    const bytes = await readAll(body)
    expect(bytes.length).toBe(size)
    const original = 'hard' in node ? tree[node.hard] : node
    if (original !== undefined && 'bytes' in original) expect(bytes.equals(original.bytes)).toBe(true)
    else expect(bytes.every((byte) => byte === 0)).toBe(true)
  }
})

test('every path of a large tree is found, and no other', async () => {
  await using world = await openArchiveWorld()
  const files: Tree = { ...many(2_000, 'a'), 'd1-': text('before what is in d1, by its name'), 'd1.x': { dir: true } }
  const { id } = await checkpoint(world, await newSession(world.store), files)
  const row = await world.store.findCheckpoint({ workspaceId, id })
  expect(row === undefined ? [] : toSegments(row)).not.toHaveLength(1)
  const at = { workspaceId, checkpoint: id }
  const names = async (path: string): Promise<string[]> =>
    (await world.archives.listFiles({ ...at, path, limit: 10_000 })).nodes.map(({ name }) => textOf(name))
  for (const [dir, count] of Object.entries({ '': 12, '/d1': 200, '/d9': 200, '/d1.x': 0 })) {
    const below = Object.keys(files).filter((path) => `/${path}`.replace(/\/[^/]*$/, '') === dir)
    expect(below).toHaveLength(count)
    expect((await names(`/workspace${dir}`)).toSorted()).toEqual(
      below.map((path) => path.slice(path.lastIndexOf('/') + 1)).toSorted(),
    )
  }
  for (const path of Object.keys(files).filter((_, n) => n % 40 === 0)) {
    const node = files[path]
    if (node === undefined || !('bytes' in node)) continue
    const { body } = await world.archives.readFile({ ...at, path: `/workspace/${path}` })
    expect((await readAll(body)).equals(node.bytes)).toBe(true)
  }
  for (const path of ['/workspace/d1/', '/workspace/d1/f', '/workspace/zz', '/workspace/d1/f1/x', '/workspace/ ']) {
    const reading = world.archives.readFile({ ...at, path })
    await expect(reading).rejects.toMatchObject({ code: path.endsWith('d1/') ? 'invalid_request' : 'not_found' })
  }
})

test('a save that runs is safe from a collection', async () => {
  await using world = await openArchiveWorld()
  const { archives, store } = world
  const [session, other] = [await newSession(store), await newSession(store)]
  const old = await checkpoint(world, other, { big: random(1_500_000) })
  const held = await restored(archives, old.id)
  const signal = AbortSignal.timeout(20_000)
  const pair = new ChannelPair()
  const played = playSave(pair, held)
  await using saved = await archives.saveArchive(pair.server, {
    workspaceId,
    base: old.id,
    roots: [root],
    limits,
    signal,
  })
  await played
  await store.removeCheckpoint({ workspaceId, id: old.id })
  expect(await archives.collect({ workspaceId, signal })).toBe(0)
  expect(await archives.removeLeftovers(signal)).toBe(0)
  const place = await store.getCheckpointPlace({ sessionId: session })
  const rest = { why: 'request', keep: 1, now: now(), epoch: 0, roots: [root] } as const
  const { archive } = saved
  await store.commitCheckpoint({ id: 'chkp_1', workspaceId, sessionId: session, place, archive, ...rest })
  await saved[Symbol.asyncDispose]()
  expect(await archives.collect({ workspaceId, signal })).toBe(0)
  expect(await restored(archives, 'chkp_1')).toEqual(held)
})

test('what was let go is not committed', async () => {
  await using world = await openArchiveWorld()
  const { archives, store } = world
  const sessionId = await newSession(store)
  const place = await store.getCheckpointPlace({ sessionId })
  const pair = new ChannelPair()
  const played = playSave(pair, tree)
  const signal = AbortSignal.timeout(20_000)
  const saved = await archives.saveArchive(pair.server, { workspaceId, base: null, roots: [root], limits, signal })
  await played
  expect(await packsOf(world)).toHaveLength(saved.archive.packs)
  await saved[Symbol.asyncDispose]()
  expect(await packsOf(world)).toEqual([])
  const rest = { why: 'request', keep: 1, now: now(), epoch: 0, roots: [root] } as const
  const committing = store.commitCheckpoint({
    id: 'chkp_1',
    workspaceId,
    sessionId,
    place,
    archive: saved.archive,
    ...rest,
  })
  await expect(committing).rejects.toMatchObject({ code: 'unavailable' })
  expect(await store.findNewestCheckpoint({ sessionId })).toBeUndefined()
})

test('what a crash leaves is removed at the next start', async () => {
  await using world = await openArchiveWorld()
  const { store, blobs } = world
  const { id } = await checkpoint(world, await newSession(store), tree)
  const before = await packsOf(world)
  await blobs.put(`packs/${workspaceId}/pack_unknown`, [Buffer.from('x')])
  await blobs.put(`packs/${workspaceId}/pack_begun`, [Buffer.from('x')])
  const chunk = { hash: sha('x'), frameStart: 0, frameLength: 1, start: 0, length: 1 }
  await store.addPack({ workspaceId, saveId: 'save_1', id: 'pack_begun', bytes: 1, chunks: [chunk] })
  expect(await store.findChunks({ workspaceId, hashes: [chunk.hash] })).toEqual([])
  expect(await world.archives.removeLeftovers(AbortSignal.timeout(10_000))).toBe(2)
  expect(await packsOf(world)).toEqual(before)
  expect(await store.listUncommittedPacks({ saveId: null })).toEqual([])
  expect(await restored(world.archives, id)).toEqual(tree)
})

test('segments end where their lines say, so that a change reaches no further than its own', () => {
  const files = many(3_000, 'a')
  const names = (one: Tree): Set<string> => new Set([...segmentsOf(one)].map((segment) => sha(segment.text)))
  const changed = names({ ...files, 'd5/new': text('n') })
  expect([...names(files)].filter((name) => !changed.has(name))).toHaveLength(1)
})
