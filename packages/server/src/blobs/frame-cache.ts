import { promisify } from 'node:util'
import { zstdDecompress } from 'node:zlib'
import { isBerthError } from '@berth/protocol'
import { CHUNK_BYTES, MAX_SEGMENT_BYTES } from '@berth/protocol/archive'
import type { ChunkPlace } from '../domain/checkpoint.ts'
import type { BlobStore } from './blob-store.ts'
import { packKey } from './chunk-index.ts'
import { damaged } from './damaged.ts'

const decompress = promisify(zstdDecompress)

const MAX_CACHED_BYTES = 16 * 1024 * 1024
const MAX_FRAME_BYTES = Math.max(CHUNK_BYTES, MAX_SEGMENT_BYTES)

/** Decompressed frames, the last used ones kept: neighbours in a frame are read once. */
export class FrameCache {
  readonly #blobs: BlobStore
  readonly #frames = new Map<string, Promise<Uint8Array<ArrayBuffer>>>()
  readonly #sizes = new Map<string, number>()
  #bytes = 0

  constructor(blobs: BlobStore) {
    this.#blobs = blobs
  }

  /** What the frame of this place decompresses to. Rejects when the pack is missing, short, or no frame is there. */
  async get(workspaceId: string, place: ChunkPlace): Promise<Uint8Array<ArrayBuffer>> {
    const key = `${packKey({ id: place.pack, workspaceId })}:${place.frameStart}`
    const cached = this.#frames.get(key)
    const frame = cached ?? this.#read(workspaceId, place)
    // Last in order: last to go.
    this.#frames.delete(key)
    this.#frames.set(key, frame)
    if (cached !== undefined) return cached
    try {
      const bytes = await frame
      this.#sizes.set(key, bytes.length)
      this.#bytes += bytes.length
      this.#trim()
      return bytes
    } catch (error) {
      this.#frames.delete(key)
      throw error
    }
  }

  #trim(): void {
    for (const key of this.#frames.keys()) {
      if (this.#bytes <= MAX_CACHED_BYTES) return
      const size = this.#sizes.get(key)
      // It is being read just now.
      if (size === undefined) continue
      this.#frames.delete(key)
      this.#sizes.delete(key)
      this.#bytes -= size
    }
  }

  async #read(workspaceId: string, place: ChunkPlace): Promise<Uint8Array<ArrayBuffer>> {
    const range = { start: place.frameStart, length: place.frameLength }
    const packed = await this.#fetch(packKey({ id: place.pack, workspaceId }), place, range)
    if (packed.length < range.length) throw damaged(place, `ends after ${range.start + packed.length} bytes`)
    try {
      const raw = await decompress(packed, { maxOutputLength: MAX_FRAME_BYTES })
      // A copy only where the bytes are a part of something larger.
      return raw.buffer instanceof ArrayBuffer && raw.length === raw.buffer.byteLength
        ? new Uint8Array(raw.buffer)
        : new Uint8Array(raw)
    } catch (cause) {
      throw damaged(place, 'cannot be decompressed', cause)
    }
  }

  async #fetch(key: string, place: ChunkPlace, range: { start: number; length: number }) {
    try {
      return await this.#blobs.get(key, range)
    } catch (cause) {
      throw isBerthError(cause, 'not_found') ? damaged(place, 'is missing', cause) : cause
    }
  }
}
