/** A save that comes between two steps of a collection, and the other way round: each of these spoiled a checkpoint if it were not spared. */
import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { ChannelPair, limits, playSave, root, type Tree } from '../../test/archive-peer.ts'
import {
  type ArchiveWorld,
  checkpoint,
  newSession,
  now,
  openArchiveWorld,
  restored,
  type SaveOptions,
  workspaceId,
} from '../../test/archive-world.ts'
import { systemClock } from '../domain/clock.ts'
import { createIds } from '../domain/ids.ts'
import { Archives } from './archives.ts'
import type { ChunkIndex } from './chunk-index.ts'

const tree: Tree = { a: { bytes: new Uint8Array(randomBytes(50_000)) } }
const { signal } = new AbortController()

interface Race {
  readonly archives: Archives
  /** Takes the dead bytes for a checkpoint of its own. */
  readonly save: (options?: SaveOptions) => Promise<string>
  readonly collect: () => Promise<number>
}

/** `step` takes the store's operations and puts something between them. The tree is stored, and no checkpoint has it, but for `base`. */
async function race(
  world: ArchiveWorld,
  step: (store: ChunkIndex, race: Race) => Partial<ChunkIndex>,
  keepsBase = false,
): Promise<Race & { base: string }> {
  const { store, blobs } = world
  const session = await newSession(store)
  const { id: base } = await checkpoint(world, session, tree)
  if (!keepsBase) await store.removeCheckpoint({ workspaceId, id: base })
  const index: ChunkIndex = { ...store }
  const archives = new Archives({ blobs, index, ids: createIds(systemClock), logger: pino({ level: 'silent' }) })
  const parts: Race = {
    archives,
    save: async (options) => (await checkpoint({ archives, store }, session, tree, options)).id,
    collect: () => archives.collect({ workspaceId, signal }),
  }
  Object.assign(index, step({ ...store }, parts))
  return { ...parts, base }
}

/** Runs it the first time only. */
function first<Result>(work: () => Promise<Result>): () => Promise<void> {
  let hasRun = false
  return async () => {
    if (hasRun) return
    hasRun = true
    await work()
  }
}

test('a checkpoint that is committed after the collection has looked at checkpoints', async () => {
  await using world = await openArchiveWorld()
  let id = ''
  const { archives, collect } = await race(world, (store, { save }) => {
    const between = first(async () => (id = await save()))
    return {
      listCheckpointSegments: async (args) => {
        const rows = await store.listCheckpointSegments(args)
        if (rows.length === 0) await between()
        return rows
      },
    }
  })
  expect(await collect()).toBe(0)
  expect(await restored(archives, id)).toEqual(tree)
})

test('a save that finds bytes which are being removed', async () => {
  await using world = await openArchiveWorld()
  let id = ''
  const { archives, collect } = await race(world, (store, { save }) => {
    const between = first(async () => (id = await save()))
    return {
      removePack: async (args) => {
        await between()
        return store.removePack(args)
      },
    }
  })
  expect(await collect()).toBe(1)
  expect(await restored(archives, id)).toEqual(tree)
})

test('a save that has found bytes which were removed before it takes them', async () => {
  await using world = await openArchiveWorld()
  let removed = 0
  const { archives, save } = await race(world, (store, { collect }) => {
    const between = first(async () => (removed = await collect()))
    return {
      findChunks: async (args) => {
        const places = await store.findChunks(args)
        if (places.length > 0) await between()
        return places
      },
    }
  })
  const id = await save()
  expect(removed).toBe(1)
  expect(await restored(archives, id)).toEqual(tree)
})

/** A base that goes just after it was asked for as often as this. A save asks once to know the tree, once more when it is held. */
async function losingBase(world: ArchiveWorld, asks: number, packsGone: number): Promise<Race & { base: string }> {
  const step = (index: ChunkIndex, { collect }: Race): Partial<ChunkIndex> => {
    let asked = 0
    return {
      findCheckpoint: async (args) => {
        const row = await index.findCheckpoint(args)
        if (++asked !== asks) return row
        await world.store.removeCheckpoint({ workspaceId, id: args.id })
        expect(await collect()).toBe(packsGone)
        return row
      },
    }
  }
  return race(world, step, true)
}

test('a save whose base is removed while it runs', async () => {
  await using world = await openArchiveWorld()
  const setting = await losingBase(world, 2, 0)
  const id = await setting.save({ base: setting.base })
  expect(await setting.collect()).toBe(0)
  expect(await restored(setting.archives, id)).toEqual(tree)
})

test('a save whose base is gone before it is held goes on without it', async () => {
  await using world = await openArchiveWorld()
  const setting = await losingBase(world, 1, 1)
  const id = await setting.save({ base: setting.base })
  expect(await restored(setting.archives, id)).toEqual(tree)
})

test('packs of a save that commits while leftovers are looked for', async () => {
  await using world = await openArchiveWorld()
  const { store } = world
  let finish: () => Promise<void> = () => Promise.resolve()
  const { archives } = await race(world, (index) => ({
    listUncommittedPacks: async (args) => {
      const packs = await index.listUncommittedPacks(args)
      expect(packs).toHaveLength(1)
      await finish()
      return packs
    },
  }))
  const sessionId = await newSession(store)
  const other: Tree = { b: { bytes: new Uint8Array(randomBytes(1_000)) } }
  const place = await store.getCheckpointPlace({ sessionId })
  const pair = new ChannelPair()
  const played = playSave(pair, other)
  const saved = await archives.saveArchive(pair.server, { workspaceId, base: null, roots: [root], limits, signal })
  await played
  finish = async () => {
    const rest = { why: 'request', keep: 1, now: now(), epoch: 0, roots: [root] } as const
    const { archive } = saved
    await store.commitCheckpoint({ id: 'chkp_1', workspaceId, sessionId, place, archive, ...rest })
    await saved[Symbol.asyncDispose]()
  }
  expect(await archives.removeLeftovers(signal)).toBe(0)
  expect(await restored(archives, 'chkp_1')).toEqual(other)
})
