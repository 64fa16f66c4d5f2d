/** The server's side of a restore: a saved tree on its way back. */
import type { ArchiveLimits, ArchiveRequest, ArchiveRoot } from '@berth/protocol/archive'
import { outOfPlace, type Exchange } from './exchange.ts'
import type { ChunkReader } from './chunk-reader.ts'
import { chunksOf, parseSegment } from './segment.ts'

export interface RestoreParts {
  readonly exchange: Exchange
  readonly reader: ChunkReader
  readonly segments: readonly string[]
  readonly roots: readonly ArchiveRoot[]
  readonly limits: ArchiveLimits
}

/** The helper's word for what it has restored. Rejects when stored bytes are damaged: then nothing is restored, and the roots hold a part. */
export async function runRestore(parts: RestoreParts): Promise<{ entries: number; bytes: number }> {
  const { exchange } = parts
  const isSent = await exchange.sendAll(restoreMessages(parts))
  const reply = await exchange.receive()
  if (!isSent || reply instanceof Uint8Array || reply.type !== 'restored') throw outOfPlace(reply)
  return { entries: reply.entries, bytes: reply.bytes }
}

async function* restoreMessages(parts: RestoreParts): AsyncGenerator<ArchiveRequest | Uint8Array> {
  const { reader, segments, roots, limits } = parts
  yield { type: 'restore', roots: [...roots], limits }
  for await (const bytes of reader.all(segments)) {
    const text = Buffer.from(bytes).toString()
    yield { type: 'segment', text }
    yield* reader.all(chunksOf(parseSegment(text)))
  }
  yield { type: 'end' }
}
