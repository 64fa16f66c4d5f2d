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

/** What is stored in damaged packs is not among it, so that it is sent again. Rejects when a segment is damaged. */
export async function readKnown(tree: ArchivedTree, reader: ChunkReader): Promise<KnownChunks> {
  const chunks = new Map<string, number>()
  const named: string[][] = []
  for await (const bytes of reader.all(tree.segments)) {
    const pieces = parseSegment(Buffer.from(bytes).toString()).flatMap((entry) =>
      entry.k === 'file' ? [...piecesOf(entry)] : [],
    )
    for (const { hash, bytes: size } of pieces) if (hash !== null) chunks.set(hash, size)
    named.push(pieces.flatMap(({ hash }) => hash ?? []))
  }
  const unsound = await reader.unsound([...chunks.keys()])
  for (const hash of unsound) chunks.delete(hash)
  const places = await reader.locate(tree.segments)
  // A segment that is taken by its hash stands for all that it names.
  const partly = new Set(tree.segments.filter((_, index) => named[index]?.some((hash) => unsound.has(hash)) !== false))
  const whole = places.filter(({ hash }) => !partly.has(hash))
  return { segments: new Map(whole.map((place) => [place.hash, place])), chunks }
}
