/** From a hash to its bytes, verified. */
import type { ChunkPlace } from '../domain/checkpoint.ts'
import { type ChunkIndex, HASHES_AT_ONCE } from './chunk-index.ts'
import { damaged, isDamaged, missing } from './damaged.ts'
import type { FrameCache } from './frame-cache.ts'
import { sha256 } from './sha256.ts'

type ReaderIndex = Pick<ChunkIndex, 'findChunks' | 'distrustPack' | 'hasDamagedPacks'>

/** Reads in order, this many chunks ahead of what is taken. */
const AHEAD = 2

export class ChunkReader {
  readonly #index: ReaderIndex
  readonly #frames: FrameCache
  readonly #workspaceId: string

  constructor(parts: { index: ReaderIndex; frames: FrameCache; workspaceId: string }) {
    this.#index = parts.index
    this.#frames = parts.frames
    this.#workspaceId = parts.workspaceId
  }

  async one(hash: string): Promise<Uint8Array<ArrayBuffer>> {
    const [place] = await this.locate([hash])
    if (place === undefined) throw missing(hash)
    return this.at(place)
  }

  /** The chunk that was found there, or elsewhere where that place is damaged. A pack in which damage is found is noted as such. */
  async at(place: ChunkPlace): Promise<Uint8Array<ArrayBuffer>> {
    try {
      return await this.#verified(place)
    } catch (error) {
      // The same bytes may be in another pack, or have been found there since, and this one removed.
      const [now] = await this.locate([place.hash])
      if (now === undefined || now.pack === place.pack) throw error
      return this.#verified(now)
    }
  }

  /** Those of them that the workspace has in damaged packs alone, or not at all. */
  async unsound(hashes: readonly string[]): Promise<Set<string>> {
    const unsound = new Set<string>()
    if (!(await this.#index.hasDamagedPacks({ workspaceId: this.#workspaceId }))) return unsound
    hashes.forEach((hash) => unsound.add(hash))
    for (const { hash } of await this.#find(hashes, true)) unsound.delete(hash)
    return unsound
  }

  /** Their bytes, in order; one that is named twice comes twice. Rejects at the first that is damaged or missing. */
  async *all(hashes: readonly string[]): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    for (let from = 0; from < hashes.length; from += HASHES_AT_ONCE) {
      yield* this.#batch(hashes.slice(from, from + HASHES_AT_ONCE))
    }
  }

  /** Where those of them are that the workspace has, in no order. */
  locate(hashes: readonly string[]): Promise<ChunkPlace[]> {
    return this.#find(hashes, false)
  }

  async #find(hashes: readonly string[], sound: boolean): Promise<ChunkPlace[]> {
    const places: ChunkPlace[] = []
    for (let from = 0; from < hashes.length; from += HASHES_AT_ONCE) {
      const part = hashes.slice(from, from + HASHES_AT_ONCE)
      places.push(...(await this.#index.findChunks({ workspaceId: this.#workspaceId, hashes: part, sound })))
    }
    return places
  }

  async *#batch(hashes: readonly string[]): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const places = new Map((await this.locate([...new Set(hashes)])).map((place) => [place.hash, place]))
    const reads: Promise<Uint8Array<ArrayBuffer>>[] = []
    const start = (hash: string | undefined): void => {
      if (hash === undefined) return
      const place = places.get(hash)
      const read = place === undefined ? Promise.reject(missing(hash)) : this.at(place)
      // Whoever takes it hears of the fault; one that is not taken any more is nobody's.
      read.catch(() => undefined)
      reads.push(read)
    }
    hashes.slice(0, AHEAD).forEach(start)
    for (const [index] of hashes.entries()) {
      start(hashes[index + AHEAD])
      const bytes = await reads.shift()
      if (bytes !== undefined) yield bytes
    }
  }

  async #verified(place: ChunkPlace): Promise<Uint8Array<ArrayBuffer>> {
    try {
      const frame = await this.#frames.get(this.#workspaceId, place)
      const bytes = frame.subarray(place.start, place.start + place.length)
      if ((await sha256(bytes)) !== place.hash) throw damaged(place, 'holds other bytes than were stored')
      return bytes
    } catch (error) {
      if (isDamaged(error)) await this.#index.distrustPack({ id: place.pack })
      throw error
    }
  }
}
