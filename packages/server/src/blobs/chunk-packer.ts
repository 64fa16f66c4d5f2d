/**
 * Chunks on their way into blobs: small ones are gathered into frames of up to 1 MiB, each compressed by itself (zstd), and frames into
 * packs of some MiB, which are one blob each. What the workspace has already, in a pack that is not damaged, is not written again.
 */
import { promisify } from 'node:util'
import { constants, zstdCompress } from 'node:zlib'
import { CHUNK_BYTES } from '@berth/protocol/archive'
import type { ChunkPlace } from '../domain/checkpoint.ts'
import type { BlobStore } from './blob-store.ts'
import { type ChunkIndex, packKey } from './chunk-index.ts'
import type { SavePins } from './pins.ts'

const compress = promisify(zstdCompress)

const FRAME_BYTES = CHUNK_BYTES
const FRAME_CHUNKS = 1_000
const PACK_BYTES = 8 * 1024 * 1024
/** Bounds the time for which the table of chunks is written to at once. */
const PACK_CHUNKS = 2_000
/** Frames that wait to be compressed, at most. */
const BACKLOG = 2
const options = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

export interface Chunk {
  readonly hash: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** Segments have frames of their own: who wants to know the tree reads nothing else. */
export type ChunkKind = 'file' | 'segment'

export interface PackerParts {
  readonly blobs: BlobStore
  readonly index: Pick<ChunkIndex, 'findChunks' | 'addPack'>
  readonly pins: SavePins
  readonly newPackId: () => string
  readonly workspaceId: string
  readonly saveId: string
  /** What the workspace has is written again all the same. From then on the new bytes count. */
  readonly isRepair: boolean
}

export interface Packed {
  /** How many were written. */
  readonly packs: number
  /** Bytes of the blobs that were written. */
  readonly storedBytes: number
  /** Packs of other saves that hold chunks which were not written again. */
  readonly reliesOn: readonly string[]
}

/** Not for two callers at a time. */
export class ChunkPacker {
  /** Packs whose blob was begun, whatever became of it. */
  readonly begun: string[] = []
  readonly #parts: PackerParts
  readonly #gathered: Record<ChunkKind, Gathered> = { file: new Gathered(), segment: new Gathered() }
  readonly #relies = new Set<string>()
  #pack = new Pack()
  #work: Promise<void> = Promise.resolve()
  #writing: Promise<void> = Promise.resolve()
  #waiting = 0
  #storedBytes = 0
  #fault: { readonly error: unknown } | undefined

  constructor(parts: PackerParts) {
    this.#parts = parts
  }

  /** Each hash once. Resolves when there is room for more; the bytes may not change afterwards. */
  async add(kind: ChunkKind, chunk: Chunk): Promise<void> {
    const gathered = this.#gathered[kind]
    if (gathered.bytes + chunk.bytes.length > FRAME_BYTES || gathered.chunks.length >= FRAME_CHUNKS)
      await this.#cut(kind)
    gathered.add(chunk)
  }

  /** Resolves when everything is durable and noted, but not committed. */
  async finish(): Promise<Packed> {
    await this.#cut('file')
    await this.#cut('segment')
    await this.#settle()
    this.#startPack()
    await this.#settle()
    return { packs: this.begun.length, storedBytes: this.#storedBytes, reliesOn: [...this.#relies] }
  }

  /** Resolves when it has stopped working; it never rejects. */
  async stop(): Promise<void> {
    this.#fault ??= { error: new Error('the save was given up') }
    await this.#work
    await this.#writing
  }

  async #settle(): Promise<void> {
    await this.#work
    await this.#writing
    if (this.#fault !== undefined) throw this.#fault.error
  }

  async #cut(kind: ChunkKind): Promise<void> {
    const chunks = this.#gathered[kind].take()
    if (chunks.length > 0) {
      this.#waiting += 1
      this.#work = this.#work.then(() => this.#guard(() => this.#addFrame(chunks))).finally(() => (this.#waiting -= 1))
      if (this.#waiting > BACKLOG) await this.#work
    }
    if (this.#fault !== undefined) throw this.#fault.error
  }

  async #guard(work: () => Promise<void>): Promise<void> {
    if (this.#fault !== undefined) return
    try {
      await work()
    } catch (error) {
      this.#fault ??= { error }
    }
  }

  async #addFrame(chunks: readonly Chunk[]): Promise<void> {
    const fresh = await this.#withoutKnown(chunks)
    if (fresh.length === 0) return
    const raw = fresh.length === 1 ? fresh[0]?.bytes : Buffer.concat(fresh.map(({ bytes }) => bytes))
    this.#pack.add(await compress(raw ?? '', options), fresh)
    if (this.#pack.bytes < PACK_BYTES && this.#pack.chunks.length < PACK_CHUNKS) return
    await this.#writing
    this.#startPack()
  }

  async #withoutKnown(chunks: readonly Chunk[]): Promise<Chunk[]> {
    const { index, workspaceId, pins, isRepair } = this.#parts
    if (isRepair) return [...chunks]
    const known = new Set<string>()
    const hashes = chunks.map((chunk) => chunk.hash)
    for (const { hash, pack } of await index.findChunks({ workspaceId, hashes, sound: true })) {
      if (!pins.pin(pack)) continue
      known.add(hash)
      this.#relies.add(pack)
    }
    return chunks.filter(({ hash }) => !known.has(hash))
  }

  /** The pack is written while further frames are compressed. */
  #startPack(): void {
    const pack = this.#pack
    this.#pack = new Pack()
    if (pack.chunks.length > 0) this.#writing = this.#guard(() => this.#write(pack))
  }

  async #write({ frames, chunks, bytes }: Pack): Promise<void> {
    const { blobs, index, newPackId, workspaceId, saveId, pins } = this.#parts
    const id = newPackId()
    pins.pin(id)
    this.begun.push(id)
    await blobs.put(packKey({ id, workspaceId }), frames)
    await index.addPack({ workspaceId, saveId, id, bytes, chunks })
    this.#storedBytes += bytes
  }
}

class Gathered {
  bytes = 0
  chunks: Chunk[] = []

  add(chunk: Chunk): void {
    this.chunks.push(chunk)
    this.bytes += chunk.bytes.length
  }

  take(): Chunk[] {
    const { chunks } = this
    this.chunks = []
    this.bytes = 0
    return chunks
  }
}

class Pack {
  bytes = 0
  readonly frames: Uint8Array[] = []
  readonly chunks: Omit<ChunkPlace, 'pack'>[] = []

  add(frame: Uint8Array, chunks: readonly Chunk[]): void {
    let start = 0
    for (const { hash, bytes } of chunks) {
      this.chunks.push({ hash, frameStart: this.bytes, frameLength: frame.length, start, length: bytes.length })
      start += bytes.length
    }
    this.frames.push(frame)
    this.bytes += frame.length
  }
}
