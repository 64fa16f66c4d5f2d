/** Removes packs of which no checkpoint needs a chunk, and blobs that nobody knows. */
import { toSegments } from '../domain/checkpoint.ts'
import type { BlobStore } from './blob-store.ts'
import { type ChunkIndex, type PackRecord, packKey } from './chunk-index.ts'
import { ChunkReader } from './chunk-reader.ts'
import type { FrameCache } from './frame-cache.ts'
import { isDamaged, missing } from './damaged.ts'
import type { Pins } from './pins.ts'
import { chunksOf, parseSegment } from './segment.ts'

interface CollectorParts {
  readonly blobs: BlobStore
  readonly index: ChunkIndex
  readonly frames: FrameCache
  readonly pins: Pins
}

const CHECKPOINTS_AT_ONCE = 20
const BLOBS_AT_ONCE = 500

export class Collector {
  readonly #parts: CollectorParts

  constructor(parts: CollectorParts) {
    this.#parts = parts
  }

  /**
   * Answers how many packs went. Rejects, with nothing removed, when a checkpoint's segment is damaged: what it names cannot be known, so
   * that all is kept.
   */
  async collect(workspaceId: string, signal: AbortSignal): Promise<number> {
    const { index, pins } = this.#parts
    using sweep = pins.startSweep()
    // Before the checkpoints: whatever is committed from here on is not looked at.
    const packs = await index.listPacks({ workspaceId })
    if (packs.length === 0) return 0
    const live = await this.#livePacks(workspaceId, signal)
    let removed = 0
    for (const pack of packs) {
      signal.throwIfAborted()
      if (live.has(pack.id) || !sweep.condemn(pack.id)) continue
      await index.removePack({ id: pack.id, uncommitted: false })
      await this.#parts.blobs.delete(packKey(pack))
      removed += 1
    }
    return removed
  }

  /** What a crash lets be: packs of saves that never ended, and blobs without a row. Answers how many blobs went. */
  async removeLeftovers(signal: AbortSignal): Promise<number> {
    const { index, blobs, pins } = this.#parts
    // What a save has written is pinned until it is committed or removed.
    using sweep = pins.startSweep()
    let removed = 0
    for (const pack of await index.listUncommittedPacks({ saveId: null })) {
      signal.throwIfAborted()
      if (!sweep.condemn(pack.id)) continue
      await this.removeUncommitted(pack)
      removed += 1
    }
    const removeUnknown = async (keys: ReadonlyMap<string, string>): Promise<void> => {
      const known = new Set(await index.findPacks({ ids: [...keys.keys()] }))
      for (const [id, key] of keys) {
        if (known.has(id) || !sweep.condemn(id)) continue
        await blobs.delete(key)
        removed += 1
      }
    }
    let found = new Map<string, string>()
    for await (const key of blobs.list('packs/')) {
      signal.throwIfAborted()
      found.set(key.slice(key.lastIndexOf('/') + 1), key)
      if (found.size < BLOBS_AT_ONCE) continue
      await removeUnknown(found)
      found = new Map()
    }
    await removeUnknown(found)
    return removed
  }

  /** Whatever there is of it, unless a checkpoint was committed with it. The rows first: a blob without rows is found again, rows without a blob are damage. */
  async removeUncommitted(pack: PackRecord): Promise<void> {
    const isGone = await this.#parts.index.removePack({ id: pack.id, uncommitted: true })
    if (isGone) await this.#parts.blobs.delete(packKey(pack))
  }

  async #livePacks(workspaceId: string, signal: AbortSignal): Promise<Set<string>> {
    const { index, frames } = this.#parts
    const reader = new ChunkReader({ index, frames, workspaceId })
    const live = new Set<string>()
    const seen = new Set<string>()
    const mark = async (hashes: readonly string[]): Promise<string[]> => {
      const fresh = [...new Set(hashes)].filter((hash) => !seen.has(hash))
      fresh.forEach((hash) => seen.add(hash))
      const places = await reader.locate(fresh)
      for (const place of places) live.add(place.pack)
      if (places.length === fresh.length) return fresh
      const found = new Set(places.map((place) => place.hash))
      throw missing(fresh.find((hash) => !found.has(hash)) ?? '')
    }
    const markTree = async (segments: readonly string[]): Promise<void> => {
      for await (const bytes of reader.all(await mark(segments))) {
        signal.throwIfAborted()
        await mark(chunksOf(parseSegment(Buffer.from(bytes).toString())))
      }
    }
    for (let after = 0; ;) {
      const rows = await index.listCheckpointSegments({ workspaceId, after, limit: CHECKPOINTS_AT_ONCE })
      for (const row of rows) await markTree(toSegments(row))
      const last = rows.at(-1)
      if (last === undefined) break
      after = last.ord
    }
    // After the checkpoints: whoever began to read one since has found it there, so that it was marked.
    for (const segments of this.#parts.pins.trees) await markTree(segments).catch(unlessDamaged)
    return live
  }
}

/** A tree that is read but belongs to no checkpoint any more cannot be spoiled further. */
function unlessDamaged(error: unknown): void {
  if (!isDamaged(error)) throw error
}
