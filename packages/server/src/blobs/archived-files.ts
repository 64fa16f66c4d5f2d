/** Looking into a saved tree without a sandbox. Symbolic links are shown, not followed. */
import { BerthError } from '@berth/protocol'
import { type ArchiveEntry, type ArchiveNode, type ArchiveRoot, CHUNK_BYTES } from '@berth/protocol/archive'
import type { ArchivedTree } from '../domain/checkpoint.ts'
import { toLatin1 } from './archive-path.ts'
import type { ChunkReader } from './chunk-reader.ts'
import { type FileEntry, piecesOf } from './segment.ts'
import { type Place, placeOf, TreeSearch } from './tree-search.ts'

export interface ArchivedListing {
  readonly nodes: readonly ArchiveNode[]
  readonly is_truncated: boolean
}

export interface ArchivedFile {
  readonly size: number
  readonly mode: number
  /** Milliseconds since 1970. */
  readonly modified: number
  readonly body: AsyncGenerator<Uint8Array<ArrayBuffer>>
}

const NS_PER_MS = 1_000_000n

/** What is in the directory at the path, or what else stands there. `not_found` when nothing does. */
export async function listTree(
  tree: ArchivedTree,
  reader: ChunkReader,
  { path, limit }: { path: string; limit: number },
): Promise<ArchivedListing> {
  const search = new TreeSearch(tree, reader)
  const wanted = toPlace(tree.roots, path)
  const entries = search.from(wanted)
  const { value: top } = await entries.next()
  if (top === undefined || !isAt(top, wanted)) throw notThere(path)
  if (top.k !== 'dir') return { nodes: [await toNode(top, search)], is_truncated: false }
  const nodes: ArchiveNode[] = []
  for await (const entry of entries) {
    const at = placeOf(entry)
    if (at.root !== wanted.root || (wanted.path !== '' && !at.path.startsWith(`${wanted.path}/`))) break
    if (!isChild(at.path, wanted.path)) continue
    if (nodes.length === limit) return { nodes, is_truncated: true }
    nodes.push(await toNode(entry, search))
  }
  return { nodes, is_truncated: false }
}

/** `not_found` when nothing stands at the path, `invalid_request` when it is no file. A damaged chunk rejects when the stream comes to it. */
export async function readTreeFile(tree: ArchivedTree, reader: ChunkReader, path: string): Promise<ArchivedFile> {
  const search = new TreeSearch(tree, reader)
  const entry = await search.find(toPlace(tree.roots, path))
  if (entry === undefined) throw notThere(path)
  const file = await search.original(entry)
  if (file?.k !== 'file') throw new BerthError('invalid_request', `${path} is no file`)
  return {
    size: file.s,
    mode: file.m,
    modified: Number(BigInt(file.t) / NS_PER_MS),
    body: bytesOf(file, reader),
  }
}

async function* bytesOf(file: FileEntry, reader: ChunkReader): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const hashes = [...piecesOf(file)].flatMap(({ hash }) => (hash === null ? [] : [hash]))
  const chunks = reader.all(hashes)
  for (const { hash, bytes } of piecesOf(file)) {
    if (hash === null) {
      for (let left = bytes; left > 0; left -= CHUNK_BYTES) yield new Uint8Array(Math.min(left, CHUNK_BYTES))
      continue
    }
    const next = await chunks.next()
    if (next.done !== true) yield next.value
  }
}

async function toNode(entry: ArchiveEntry, search: TreeSearch): Promise<ArchiveNode> {
  const { path } = placeOf(entry)
  const file = await search.original(entry)
  return {
    name: toName(path.slice(path.lastIndexOf('/') + 1)),
    kind: entry.k === 'hard' ? 'file' : entry.k,
    mode: entry.m,
    size: file?.k === 'file' ? file.s : 0,
    modified: Number(BigInt(entry.t) / NS_PER_MS),
    ...(entry.k === 'link' ? { to: entry.to } : {}),
  }
}

/** Text where the bytes are UTF-8. */
function toName(latin1: string): ArchiveNode['name'] {
  const bytes = Buffer.from(latin1, 'latin1')
  const text = bytes.toString('utf8')
  return Buffer.from(text).equals(bytes) ? text : { b64: bytes.toString('base64') }
}

function isAt(entry: ArchiveEntry, { root, path }: Place): boolean {
  const at = placeOf(entry)
  return at.root === root && at.path === path
}

function isChild(path: string, parent: string): boolean {
  return !path.slice(parent === '' ? 0 : parent.length + 1).includes('/')
}

/** Absolute paths as in the sandbox; a slash at the end changes nothing. */
function toPlace(roots: readonly ArchiveRoot[], path: string): Place {
  const plain = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
  const root = roots
    .filter((one) => plain === one.path || plain.startsWith(`${one.path}/`))
    .toSorted((a, b) => b.path.length - a.path.length)[0]
  if (root === undefined) throw notThere(path)
  return { root: root.name, path: toLatin1(plain.slice(root.path.length + 1)) ?? '' }
}

function notThere(path: string): BerthError {
  return new BerthError('not_found', `${path} is not among the saved files`)
}
