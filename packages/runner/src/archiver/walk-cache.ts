import type { BigIntStats } from 'node:fs'

const MAGIC = Buffer.from('berthwc1')
/** dev, ino, size, mtime, ctime (8 bytes each), number of pieces (4). */
const HEAD_BYTES = 44
const HASH = 0
const ZEROS = 1
const HASH_BYTES = 32
const MAX_BYTES = 32 * 1024 * 1024

/** A file's content: hashes of its chunks, in hex, or numbers of chunks of zeros. */
export type Pieces = readonly (string | number)[]

/**
 * What files held when they were read last, by inode, size and times: a file that has the same is not read again. Written as bytes, which
 * the runner keeps from one job to the next.
 */
export class WalkCache {
  readonly #known: Buffer
  readonly #offsets = new Map<bigint, number>()
  #next = Buffer.allocUnsafe(256 * 1024)
  #used = MAGIC.copy(this.#next)
  #tooLarge = false

  /** `known`: bytes of an earlier one, or nothing. What cannot be understood counts as nothing. */
  constructor(known: Buffer) {
    this.#known = known
    if (!known.subarray(0, MAGIC.length).equals(MAGIC)) return
    let at = MAGIC.length
    while (at + HEAD_BYTES <= known.length) {
      const end = this.#end(at)
      if (end === undefined) break
      this.#offsets.set(known.readBigUInt64LE(at + 8), at)
      at = end
    }
  }

  find(stats: BigIntStats): Pieces | undefined {
    const at = this.#offsets.get(stats.ino)
    if (at === undefined) return undefined
    const known = this.#known
    const isSame =
      known.readBigUInt64LE(at) === stats.dev &&
      known.readBigUInt64LE(at + 16) === stats.size &&
      known.readBigInt64LE(at + 24) === stats.mtimeNs &&
      known.readBigInt64LE(at + 32) === stats.ctimeNs
    return isSame ? this.#pieces(at) : undefined
  }

  /** Remembers it for the next time. */
  add(stats: BigIntStats, pieces: Pieces): void {
    const room = this.#room(HEAD_BYTES + pieces.length * (1 + HASH_BYTES))
    if (room === undefined) return
    let at = this.#used
    for (const value of [stats.dev, stats.ino, stats.size]) at = room.writeBigUInt64LE(value, at)
    for (const value of [stats.mtimeNs, stats.ctimeNs]) at = room.writeBigInt64LE(value, at)
    at = room.writeUInt32LE(pieces.length, at)
    for (const piece of pieces) {
      if (typeof piece === 'number') {
        at = room.writeUInt8(ZEROS, at)
        at = room.writeUInt32LE(piece, at)
      } else {
        at = room.writeUInt8(HASH, at)
        at += room.write(piece, at, 'hex')
      }
    }
    this.#used = at
  }

  /** All that was added; empty when that would be too much. */
  bytes(): Buffer {
    return this.#tooLarge ? Buffer.alloc(0) : this.#next.subarray(0, this.#used)
  }

  #pieces(offset: number): Pieces {
    const known = this.#known
    const pieces: (string | number)[] = []
    const count = known.readUInt32LE(offset + HEAD_BYTES - 4)
    let at = offset + HEAD_BYTES
    for (let index = 0; index < count; index++) {
      if (known[at] === ZEROS) {
        pieces.push(known.readUInt32LE(at + 1))
        at += 5
      } else {
        pieces.push(known.toString('hex', at + 1, at + 1 + HASH_BYTES))
        at += 1 + HASH_BYTES
      }
    }
    return pieces
  }

  /** Where a record ends; undefined for one that is cut. */
  #end(offset: number): number | undefined {
    const count = this.#known.readUInt32LE(offset + HEAD_BYTES - 4)
    let at = offset + HEAD_BYTES
    for (let index = 0; index < count && at < this.#known.length; index++)
      at += this.#known[at] === ZEROS ? 5 : 1 + HASH_BYTES
    return at <= this.#known.length ? at : undefined
  }

  #room(bytes: number): Buffer | undefined {
    if (this.#used + bytes > MAX_BYTES) this.#tooLarge = true
    if (this.#tooLarge) return undefined
    if (this.#used + bytes > this.#next.length) {
      const grown = Buffer.allocUnsafe(Math.min(MAX_BYTES, Math.max(this.#next.length * 2, this.#used + bytes)))
      this.#next.copy(grown, 0, 0, this.#used)
      this.#next = grown
    }
    return this.#next
  }
}
