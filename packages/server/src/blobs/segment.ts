/** The text of a segment and its entries. */
import {
  archiveEntry,
  type ArchiveEntry,
  CHUNK_BYTES,
  MAX_SEGMENT_BYTES,
  MAX_SEGMENT_ENTRIES,
} from '@berth/protocol/archive'

export type FileEntry = Extract<ArchiveEntry, { k: 'file' }>

/** Throws when it is no segment. */
export function parseSegment(text: string): ArchiveEntry[] {
  if (!text.isWellFormed() || Buffer.byteLength(text) > MAX_SEGMENT_BYTES) throw new Error('it is too large or no text')
  const lines = (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n')
  if (lines.length > MAX_SEGMENT_ENTRIES) throw new Error(`it has ${lines.length} entries`)
  return lines.map((line) => archiveEntry.parse(JSON.parse(line)))
}

/** The hashes of the chunks that these entries name, in order; one that is named twice comes twice. */
export function chunksOf(entries: readonly ArchiveEntry[]): string[] {
  return entries.flatMap((entry) =>
    entry.k === 'file' ? entry.c.filter((chunk): chunk is string => typeof chunk === 'string') : [],
  )
}

/** How many chunks a file of this many bytes has. */
export function chunkCount(bytes: number): number {
  return Math.ceil(bytes / CHUNK_BYTES)
}

/** The file's chunks with their sizes: a hash, or null for zeros. */
export function* piecesOf(file: FileEntry): Generator<{ hash: string | null; bytes: number; count: number }> {
  let left = file.s
  for (const chunk of file.c) {
    const count = typeof chunk === 'number' ? chunk : 1
    const bytes = Math.min(left, count * CHUNK_BYTES)
    yield { hash: typeof chunk === 'number' ? null : chunk, bytes, count }
    left -= bytes
  }
}
