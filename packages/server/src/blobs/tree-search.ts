/** Finding a path among the segments of a tree, which are in order: some segments are read, not all. */
import type { ArchiveEntry } from '@berth/protocol/archive'
import type { ArchivedTree } from '../domain/checkpoint.ts'
import { toLatin1 } from './archive-path.ts'
import type { ChunkReader } from './chunk-reader.ts'
import { parseSegment } from './segment.ts'

export interface Place {
  /** Name of the root. */
  readonly root: string
  /** Below it, one character per byte. */
  readonly path: string
}

export class TreeSearch {
  readonly #tree: ArchivedTree
  readonly #reader: ChunkReader

  constructor(tree: ArchivedTree, reader: ChunkReader) {
    this.#tree = tree
    this.#reader = reader
  }

  /** The entries from that place on, in order: the place's own comes first, if there is one. */
  async *from(place: Place): AsyncGenerator<ArchiveEntry, undefined> {
    const { segments } = this.#tree
    const start = await this.#segmentOf(place)
    for (const hash of segments.slice(start, start + 1)) {
      for (const entry of await this.#entries(hash)) if (this.#compare(placeOf(entry), place) >= 0) yield entry
    }
    for await (const bytes of this.#reader.all(segments.slice(start + 1))) {
      yield* parseSegment(Buffer.from(bytes).toString())
    }
    return undefined
  }

  async find(place: Place): Promise<ArchiveEntry | undefined> {
    for await (const entry of this.from(place)) return this.#compare(placeOf(entry), place) === 0 ? entry : undefined
    return undefined
  }

  /** The file that a further name of it means. */
  async original(entry: ArchiveEntry): Promise<ArchiveEntry | undefined> {
    return entry.k === 'hard' ? this.find(placeOf(entry.of)) : entry
  }

  /** The last segment that begins at the place or before it; the first one when none does. */
  async #segmentOf(place: Place): Promise<number> {
    const { segments } = this.#tree
    let [low, high] = [0, segments.length - 1]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      const [entry] = await this.#entries(segments[middle] ?? '')
      if (entry !== undefined && this.#compare(placeOf(entry), place) <= 0) low = middle
      else high = middle - 1
    }
    return low
  }

  async #entries(segment: string): Promise<ArchiveEntry[]> {
    return parseSegment(Buffer.from(await this.#reader.one(segment)).toString())
  }

  /** The order of the walk. */
  #compare(a: Place, b: Place): number {
    const rank = (place: Place): number => this.#tree.roots.findIndex(({ name }) => name === place.root)
    if (a.root !== b.root) return rank(a) - rank(b)
    if (a.path === b.path) return 0
    // The slash goes before every other byte, so that what is in a directory follows it at once.
    return a.path.replaceAll('/', '\0') < b.path.replaceAll('/', '\0') ? -1 : 1
  }
}

export function placeOf({ r, p }: Pick<ArchiveEntry, 'r' | 'p'>): Place {
  return { root: r, path: toLatin1(p) ?? '' }
}
