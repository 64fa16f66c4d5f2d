import { randomBytes } from 'node:crypto'
import { readFile, truncate, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Tree } from '../../test/archive-peer.ts'
import {
  type ArchiveWorld,
  checkpoint,
  newSession,
  openArchiveWorld,
  openWorldWith,
  restored,
  workspaceId,
} from '../../test/archive-world.ts'

const tree: Tree = {
  a: { bytes: new Uint8Array(randomBytes(2_000_000)) },
  b: { bytes: new TextEncoder().encode('b') },
}

/** The one pack. */
async function packOf(world: ArchiveWorld): Promise<{ id: string; path: string }> {
  const [pack] = await world.store.listPacks({ workspaceId })
  const id = pack?.id ?? ''
  return { id, path: join(world.dir, 'blobs', 'packs', workspaceId, id) }
}

const damages: Record<string, (path: string) => Promise<void>> = {
  'a flipped byte': async (path) => {
    const bytes = await readFile(path)
    bytes[1_000] = (bytes[1_000] ?? 0) ^ 0xff
    await writeFile(path, bytes)
  },
  'a short pack': (path) => truncate(path, 1_500_000),
  'an empty pack': (path) => truncate(path, 0),
  'a missing blob': (path) => unlink(path),
  'another blob in its place': (path) => writeFile(path, randomBytes(3_000_000)),
}

test.each(Object.entries(damages))('%s fails what needs it, and says what it is', async (_, damage) => {
  await using world = await openWorldWith(tree)
  const { id } = world
  const pack = await packOf(world)
  await damage(pack.path)
  // Nothing is remembered from the save.
  await using again = await openArchiveWorld(world.dir)
  const error = await restored(again.archives, id).catch((reason: unknown) => reason)
  expect(error).toMatchObject({
    code: 'internal',
    details: { error_code: 'checkpoint_damaged', checkpoint: id, pack: pack.id },
  })
  expect(String(error)).toContain(`checkpoint ${id} is damaged: the pack ${pack.id}`)
  expect(String(error)).toMatch(/[0-9a-f]{64}/)
  const read = async (): Promise<void> => {
    const { body } = await again.archives.readFile({ workspaceId, checkpoint: id, path: '/workspace/a' })
    for await (const part of body) expect(part.length).toBeGreaterThan(0)
  }
  await expect(read()).rejects.toMatchObject({ details: { error_code: 'checkpoint_damaged' } })
})

test('a save on a damaged base writes everything again, which mends the base', async () => {
  await using world = await openWorldWith(tree)
  const { id, session } = world
  await truncate((await packOf(world)).path, 0)
  await using again = await openArchiveWorld(world.dir)
  const next = await checkpoint(again, session, tree, { base: id })
  expect(next.baseFault).toMatchObject({ details: { error_code: 'checkpoint_damaged' } })
  expect(next.storedBytes).toBeGreaterThan(2_000_000)
  expect(await restored(again.archives, next.id)).toEqual(tree)
  expect(await restored(again.archives, id)).toEqual(tree)
  expect(await again.archives.collect({ workspaceId, signal: AbortSignal.timeout(10_000) })).toBe(1)
  expect(await restored(again.archives, id)).toEqual(tree)
})

test('a repair writes again what a base that seems sound has lost', async () => {
  await using world = await openWorldWith(tree)
  const { id, session } = world
  await damages['a flipped byte']?.((await packOf(world)).path)
  await using again = await openArchiveWorld(world.dir)
  const next = await checkpoint(again, session, tree, { base: id, isRepair: true })
  expect(next.sentBytes).toBe(2_000_001)
  expect(await restored(again.archives, next.id)).toEqual(tree)
})

test('a collection removes nothing when it cannot read what is needed', async () => {
  await using world = await openWorldWith({ dead: { bytes: new Uint8Array(randomBytes(10_000)) } })
  await checkpoint(world, world.session, tree)
  await world.store.removeCheckpoint({ workspaceId, id: world.id })
  const packs = await world.store.listPacks({ workspaceId })
  expect(packs).toHaveLength(2)
  await truncate(join(world.dir, 'blobs', 'packs', workspaceId, packs[1]?.id ?? ''), 10)
  await using again = await openArchiveWorld(world.dir)
  const signal = AbortSignal.timeout(10_000)
  await expect(again.archives.collect({ workspaceId, signal })).rejects.toMatchObject({
    details: { error_code: 'checkpoint_damaged' },
  })
  expect(await world.store.listPacks({ workspaceId })).toHaveLength(2)
})

test('what one session has found damaged, no other relies on: neither for what it sends nor for what its base has', async () => {
  await using world = await openWorldWith(tree)
  const [fresh, early] = [await newSession(world.store), await newSession(world.store)]
  const small = { ...tree, c: { bytes: new TextEncoder().encode('c') } }
  const { id: base } = await checkpoint(world, early, small)
  // In the frame of the files alone: the tree of the base can be read.
  await damages['a flipped byte']?.((await packOf(world)).path)
  {
    await using again = await openArchiveWorld(world.dir)
    await expect(restored(again.archives, world.id)).rejects.toMatchObject({
      details: { error_code: 'checkpoint_damaged' },
    })
  }
  // Known after a restart, too.
  await using again = await openArchiveWorld(world.dir)
  const onBase = await checkpoint(again, early, small, { base })
  expect(onBase).toMatchObject({ baseFault: undefined, sentBytes: 2_000_001 })
  expect(await restored(again.archives, onBase.id)).toEqual(small)
  // Its bytes are whole again, for all who have them.
  expect(await restored(again.archives, world.id)).toEqual(tree)
  expect((await checkpoint(again, early, small, { base: onBase.id })).storedBytes).toBe(0)
  expect((await checkpoint(again, fresh, tree)).storedBytes).toBeLessThan(1_000)
})

test('a session without a base writes what it sends, where the workspace has it in a damaged pack alone', async () => {
  await using world = await openWorldWith(tree)
  await damages['a missing blob']?.((await packOf(world)).path)
  await using again = await openArchiveWorld(world.dir)
  await expect(restored(again.archives, world.id)).rejects.toMatchObject({ details: { pack: expect.any(String) } })
  const { id, storedBytes } = await checkpoint(again, await newSession(again.store), tree)
  expect(storedBytes).toBeGreaterThan(2_000_000)
  expect(await restored(again.archives, id)).toEqual(tree)
  expect(await restored(again.archives, world.id)).toEqual(tree)
})
