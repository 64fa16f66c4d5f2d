import type { ArchivedTree, ChunkPlace } from '../domain/checkpoint.ts'
import type { ChunkReader } from './chunk-reader.ts'
import { parseSegment, piecesOf } from './segment.ts'

/** What a save may take by its hash alone: segments and chunks of one earlier checkpoint. */
export interface KnownChunks {
  /** Where they are, by hash. */
  readonly segments: ReadonlyMap<string, ChunkPlace>
  /** Bytes by hash. */
  readonly chunks: ReadonlyMap<string, number>
}

export const nothingKnown: KnownChunks = { segments: new Map(), chunks: new Map() }

/** Rejects when a segment is damaged. */
export async function readKnown(tree: ArchivedTree, reader: ChunkReader): Promise<KnownChunks> {
  const chunks = new Map<string, number>()
  for await (const bytes of reader.all(tree.segments)) {
    for (const entry of parseSegment(Buffer.from(bytes).toString())) {
      if (entry.k !== 'file') continue
      for (const { hash, bytes: size } of piecesOf(entry)) if (hash !== null) chunks.set(hash, size)
    }
  }
  const places = await reader.locate(tree.segments)
  return { segments: new Map(places.map((place) => [place.hash, place])), chunks }
}
