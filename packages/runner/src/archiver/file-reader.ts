import { CHUNK_BYTES } from '@berth/protocol/archive'
import { chmodSync, closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { native } from './byte-path.ts'
import type { BytePath } from './byte-path.ts'
import { errno } from './failure.ts'
import { O_PATH } from './place.ts'
import type { SegmentWriter } from './segment-writer.ts'
import type { Pieces } from './walk-cache.ts'

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
const OWNER_READS = 0o400
const BLOCK_BYTES = 512n
/** A small file takes no room in some file systems, which says nothing about holes. */
const SPARSE_FROM = 64 * 1024

export interface FileContent {
  /** Bytes, as many as there were when it was read. */
  readonly size: number
  readonly pieces: Pieces
  readonly sparse: boolean
  /** The file's stats, when they were the same before and after. */
  readonly stats: BigIntStats | undefined
}

/** Each may end the reading by throwing. */
export interface ReadWatch {
  /** With the file's size, before anything of it is read. */
  readonly begin: (bytes: number) => void
  /** After each chunk. */
  readonly chunk: () => void
}

export function isSparse(stats: BigIntStats): boolean {
  return stats.size >= SPARSE_FROM && stats.blocks * BLOCK_BYTES < stats.size
}

/** Reads regular files of the directory in which the helper stands. */
export class FileReader {
  readonly #buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  readonly #zeros = Buffer.alloc(CHUNK_BYTES)
  readonly #writer: SegmentWriter

  constructor(writer: SegmentWriter) {
    this.#writer = writer
  }

  /** Sends what is not known of a file's content. Undefined when it is no regular file any more. Throws the system's error. */
  read(name: BytePath, watch: ReadWatch): FileContent | undefined {
    const fd = openToRead(name)
    try {
      const before = fstatSync(fd, { bigint: true })
      if (!before.isFile()) return undefined
      const sparse = isSparse(before)
      watch.begin(Number(before.size))
      const { size, pieces } = this.#pieces(fd, Number(before.size), sparse, watch)
      const after = fstatSync(fd, { bigint: true })
      const isSame = after.size === before.size && after.ctimeNs === before.ctimeNs && size === Number(before.size)
      return { size, pieces, sparse, stats: isSame ? before : undefined }
    } finally {
      closeSync(fd)
    }
  }

  #pieces(fd: number, expected: number, sparse: boolean, watch: ReadWatch): { size: number; pieces: Pieces } {
    const pieces: (string | number)[] = []
    let size = 0
    while (size < expected) {
      const bytes = this.#chunk(fd, size, Math.min(CHUNK_BYTES, expected - size))
      if (bytes.length === 0) break
      size += bytes.length
      if (sparse && bytes.equals(this.#zeros.subarray(0, bytes.length))) {
        const run = pieces.at(-1)
        if (typeof run === 'number') pieces[pieces.length - 1] = run + 1
        else pieces.push(1)
      } else {
        pieces.push(this.#writer.chunk(bytes))
      }
      // One that was cut short while it was read ends here: what stands behind would be in no whole chunk.
      if (bytes.length < CHUNK_BYTES) break
      watch.chunk()
    }
    return { size, pieces }
  }

  #chunk(fd: number, position: number, length: number): Buffer {
    let filled = 0
    while (filled < length) {
      const read = readSync(fd, this.#buffer, filled, length - filled, position + filled)
      if (read === 0) break
      filled += read
    }
    return this.#buffer.subarray(0, filled)
  }
}

/** An own file that may not be read may be for a moment. */
function openToRead(name: BytePath): number {
  const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
  try {
    return openSync(native(name), flags)
  } catch (error) {
    if (errno(error) !== 'EACCES') throw error
    const fd = openSync(native(name), O_PATH | O_NOFOLLOW)
    try {
      const stats = fstatSync(fd)
      const mode = stats.mode & 0o7777
      if (!stats.isFile() || stats.uid !== process.geteuid?.() || (mode & OWNER_READS) !== 0) throw error
      const path = `/proc/self/fd/${fd}`
      chmodSync(path, mode | OWNER_READS)
      try {
        return openSync(path, O_RDONLY | O_NONBLOCK)
      } finally {
        chmodSync(path, mode)
      }
    } finally {
      closeSync(fd)
    }
  }
}
