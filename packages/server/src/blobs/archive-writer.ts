/** The server's side of a save: takes what the helper sends, believes none of it, and packs it. */
import { setImmediate as breathe } from 'node:timers/promises'
import { BerthError } from '@berth/protocol'
import {
  type ArchiveLimits,
  type ArchiveReply,
  type ArchiveRequest,
  type ArchiveRoot,
  CHUNK_BYTES,
} from '@berth/protocol/archive'
import { type SavedTree, toNamedRefusals } from '../domain/checkpoint.ts'
import { badArchive } from './bad-archive.ts'
import type { ChunkPacker } from './chunk-packer.ts'
import type { ChunkReader } from './chunk-reader.ts'
import { type Exchange, outOfPlace } from './exchange.ts'
import type { KnownChunks } from './known-chunks.ts'
import { chunkCount, parseSegment } from './segment.ts'
import { sha256 } from './sha256.ts'
import { TreeCheck } from './tree-check.ts'

export type ReceivedTree = Pick<SavedTree, 'segments' | 'entries' | 'bytes' | 'refused' | 'refusedCount'>

interface WriterParts {
  readonly exchange: Exchange
  readonly packer: ChunkPacker
  /** Reads segments of the known checkpoint. */
  readonly reader: ChunkReader
  readonly known: KnownChunks
  readonly roots: readonly ArchiveRoot[]
  readonly limits: ArchiveLimits
}

const HASHES_PER_MESSAGE = 16_384
/** How often more than all files there may be a helper sends: one file may be read again when it has changed. */
const TIMES = 2
/** Entries that are checked at once. */
const ENTRIES_AT_ONCE = 256

export class ArchiveWriter {
  readonly #parts: WriterParts
  readonly #tree: TreeCheck
  readonly #received = new Map<string, number>()
  readonly #segments: string[] = []
  #bytesLeft: number
  #chunksLeft: number

  constructor(parts: WriterParts) {
    this.#parts = parts
    const { limits, roots, known } = parts
    this.#bytesLeft = TIMES * limits.bytes
    this.#chunksLeft = TIMES * (limits.entries + chunkCount(limits.bytes))
    this.#tree = new TreeCheck(roots, limits, (hash) => this.#received.get(hash) ?? known.chunks.get(hash))
  }

  /** Rejects with a `BerthError` for whatever the helper does wrong. */
  async run(): Promise<ReceivedTree> {
    const { exchange } = this.#parts
    const isAsked = await exchange.sendAll(this.#question())
    for (;;) {
      const reply = await exchange.receive()
      if (!isAsked) throw outOfPlace(reply)
      if (reply instanceof Uint8Array) await this.#takeChunk(reply)
      else if (reply.type === 'segment') await this.#takeSegment(reply.text)
      else if (reply.type === 'known_segment') await this.#takeKnownSegment(reply.hash)
      else if (reply.type === 'saved') return this.#result(reply)
      else throw outOfPlace(reply)
    }
  }

  async *#question(): AsyncGenerator<ArchiveRequest | Uint8Array> {
    const { roots, limits, known } = this.#parts
    yield { type: 'save', roots: [...roots], limits }
    const hashes = [...known.segments.keys(), ...known.chunks.keys()]
    for (let from = 0; from < hashes.length; from += HASHES_PER_MESSAGE) {
      yield Buffer.from(hashes.slice(from, from + HASHES_PER_MESSAGE).join(''), 'hex')
      await breathe()
    }
    yield { type: 'known_end' }
  }

  async #takeChunk(message: Uint8Array): Promise<void> {
    if (message.length === 0 || message.length > CHUNK_BYTES) throw badArchive(`a chunk of ${message.length} bytes`)
    this.#bytesLeft -= message.length
    this.#chunksLeft -= 1
    if (this.#bytesLeft < 0 || this.#chunksLeft < 0) {
      throw new BerthError('too_large', "the sandbox sent more than the session's files may be", {
        details: { error_code: 'archive_limit' },
      })
    }
    // Bytes of our own: what came may be a part of a larger buffer, which would be kept with it.
    const bytes = new Uint8Array(message)
    const hash = await sha256(bytes)
    if (this.#received.has(hash)) return
    this.#received.set(hash, bytes.length)
    await this.#parts.packer.add('file', { hash, bytes })
  }

  async #takeSegment(text: string): Promise<void> {
    await this.#check(text)
    const bytes = new TextEncoder().encode(text)
    const hash = await sha256(bytes)
    this.#segments.push(hash)
    if (this.#received.has(hash) || this.#parts.known.segments.has(hash)) return
    this.#received.set(hash, bytes.length)
    await this.#parts.packer.add('segment', { hash, bytes })
  }

  async #takeKnownSegment(hash: string): Promise<void> {
    const { known, reader } = this.#parts
    const place = known.segments.get(hash)
    if (place === undefined) throw badArchive(`the segment ${hash} is not known`)
    await this.#check(Buffer.from(await reader.at(place)).toString())
    this.#segments.push(hash)
  }

  async #check(text: string): Promise<void> {
    for (const [index, entry] of parseEntries(text).entries()) {
      this.#tree.add(entry)
      if (index % ENTRIES_AT_ONCE === ENTRIES_AT_ONCE - 1) await breathe()
    }
  }

  #result({ refused, refused_count }: Extract<ArchiveReply, { type: 'saved' }>): ReceivedTree {
    const { entries, bytes } = this.#tree
    const named = toNamedRefusals(refused)
    return { segments: this.#segments, entries, bytes, refused: named, refusedCount: refused_count }
  }
}

function parseEntries(text: string): ReturnType<typeof parseSegment> {
  try {
    return parseSegment(text)
  } catch (cause) {
    throw badArchive('a segment cannot be read', cause)
  }
}
