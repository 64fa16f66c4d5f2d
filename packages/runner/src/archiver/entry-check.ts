import { archiveEntry, CHUNK_BYTES } from '@berth/protocol/archive'
import type { ArchiveEntry } from '@berth/protocol/archive'
import { fromWire, isBelow, shown } from './byte-path.ts'
import type { BytePath, WirePath } from './byte-path.ts'
import { ArchiveFailure } from './failure.ts'

export function bad(what: string): ArchiveFailure {
  return new ArchiveFailure('bad_archive', what)
}

/** Reads one line of a segment. Throws `bad_archive` for what is no entry. */
export function readEntry(line: string): ArchiveEntry {
  let data: unknown
  try {
    data = JSON.parse(line)
  } catch {
    throw bad(`a line that is no entry: ${line.slice(0, 200)}`)
  }
  const entry = archiveEntry.safeParse(data)
  if (!entry.success) throw bad(`a line that is no entry (${entry.error.issues[0]?.message}): ${line.slice(0, 200)}`)
  if (entry.data.k === 'file') checkPieces(entry.data)
  return entry.data
}

/** The path's bytes. Throws `bad_archive` for one that leads anywhere but below a root. */
export function pathOf(path: WirePath): BytePath {
  const bytes = fromWire(path)
  if (bytes === undefined || !isBelow(bytes)) throw bad(`an entry with the path ${JSON.stringify(path).slice(0, 500)}`)
  return bytes
}

/** The bytes of a link's target, which may lead anywhere. */
export function targetOf(to: WirePath, path: BytePath): BytePath {
  const bytes = fromWire(to)
  if (bytes === undefined || bytes === '' || bytes.includes('\0')) throw bad(`${shown(path)} is a link to nothing`)
  return bytes
}

function checkPieces({ s, c, p }: ArchiveEntry & { k: 'file' }): void {
  const chunks = c.reduce<number>((sum, piece) => sum + (typeof piece === 'number' ? piece : 1), 0)
  if (chunks !== Math.ceil(s / CHUNK_BYTES)) throw bad(`${JSON.stringify(p)} has ${s} bytes and ${chunks} chunks`)
}
