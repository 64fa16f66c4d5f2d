/** The other end of an archive channel, as the helper in a sandbox speaks it, with a tree in memory for its files. */
import { hash } from 'node:crypto'
import {
  archiveEntry,
  type ArchiveEntry,
  archiveReply,
  type ArchiveReply,
  archiveRequest,
  type ArchiveRequest,
  CHUNK_BYTES,
  MAX_SEGMENT_ENTRIES,
} from '@berth/protocol/archive'
import type { ArchiveChannel } from '../src/blobs/archive-channel.ts'

export const root = { name: 'workspace', path: '/workspace', exclude: ['.berth'] }
export const limits = { bytes: 2 ** 30, entries: 50_000, depth: 20, seconds: 60 }

/** What stands at a path below the root; strings are the contents of files. */
export type Tree = Readonly<Record<string, FileNode>>
export type FileNode =
  | { readonly dir: true }
  | { readonly link: string }
  | { readonly hard: string }
  | { readonly bytes: Uint8Array }
  /** So many bytes of zeros. */
  | { readonly hole: number }

/** Messages each way as they cross the wire; a side that sends waits while the other has not read the last ones. */
export class ChannelPair {
  readonly server: ArchiveChannel
  readonly #toHelper = new Lane<string | Uint8Array>()
  readonly #toServer = new Lane<string | Uint8Array>()
  /** Bytes that the helper has sent as binary messages. */
  sentBytes = 0

  constructor() {
    this.server = {
      send: (message) => this.#toHelper.put(message instanceof Uint8Array ? message : JSON.stringify(message)),
      read: async (signal) => {
        const message = await this.#toServer.take(signal)
        return typeof message === 'string' ? archiveReply.parse(JSON.parse(message)) : message
      },
      [Symbol.asyncDispose]: () => {
        this.close()
        return Promise.resolve()
      },
    }
  }

  async request(): Promise<ArchiveRequest | Uint8Array | undefined> {
    const message = await this.#toHelper.take()
    return typeof message === 'string' ? archiveRequest.parse(JSON.parse(message)) : message
  }

  async reply(message: ArchiveReply | Uint8Array): Promise<void> {
    if (message instanceof Uint8Array) this.sentBytes += message.length
    await this.#toServer.put(message instanceof Uint8Array ? message : JSON.stringify(message))
  }

  close(): void {
    this.#toHelper.end()
    this.#toServer.end()
  }
}

const ROOM = 4

class Lane<Item> {
  readonly #items: Item[] = []
  #isEnded = false
  #changed = Promise.withResolvers<void>()

  async put(item: Item): Promise<void> {
    while (this.#items.length >= ROOM && !this.#isEnded) await this.#changed.promise
    if (this.#isEnded) throw new Error('the channel is closed')
    this.#items.push(item)
    this.#tell()
  }

  async take(signal?: AbortSignal): Promise<Item | undefined> {
    const onAbort = (): void => this.#tell()
    signal?.addEventListener('abort', onAbort)
    try {
      while (this.#items.length === 0 && !this.#isEnded) {
        signal?.throwIfAborted()
        await this.#changed.promise
      }
      const item = this.#items.shift()
      this.#tell()
      return item
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  end(): void {
    this.#isEnded = true
    this.#tell()
  }

  #tell(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }
}

export const sha = (bytes: Uint8Array | string): string => hash('sha256', bytes)

/** Entries of the tree in the order of a walk, each with the chunks that it names. */
export function walk(tree: Tree): { entry: ArchiveEntry; chunks: Uint8Array[] }[] {
  const common = { r: root.name, m: 0o644, t: '1700000000000000000' }
  const paths = Object.keys(tree).toSorted((a, b) => compare(a.split('/'), b.split('/')))
  return [
    { entry: { k: 'dir', ...common, m: 0o755, p: '' }, chunks: [] },
    ...paths.map((p) => {
      const node = tree[p] ?? { dir: true }
      if ('dir' in node) return { entry: { k: 'dir' as const, ...common, m: 0o755, p }, chunks: [] }
      if ('link' in node) return { entry: { k: 'link' as const, ...common, p, to: node.link }, chunks: [] }
      if ('hard' in node) {
        return { entry: { k: 'hard' as const, ...common, p, of: { r: root.name, p: node.hard } }, chunks: [] }
      }
      if ('hole' in node) {
        const c = [Math.ceil(node.hole / CHUNK_BYTES)]
        return { entry: { k: 'file' as const, ...common, p, s: node.hole, c, sparse: true as const }, chunks: [] }
      }
      const { bytes } = node
      const chunks = Array.from({ length: Math.ceil(bytes.length / CHUNK_BYTES) }, (_, index) =>
        bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
      )
      return { entry: { k: 'file' as const, ...common, p, s: bytes.length, c: chunks.map(sha) }, chunks }
    }),
  ]
}

function compare(a: readonly string[], b: readonly string[]): number {
  for (const [index, part] of a.entries()) {
    const other = b[index]
    if (other === undefined) return 1
    const order = Buffer.compare(Buffer.from(part), Buffer.from(other))
    if (order !== 0) return order
  }
  return a.length - b.length
}

/** Segments of a walk: the text, and the chunks of its entries. */
export function* segmentsOf(tree: Tree): Generator<{ text: string; chunks: Uint8Array[] }> {
  let [text, chunks, count]: [string, Uint8Array[], number] = ['', [], 0]
  for (const one of walk(tree)) {
    const line = `${JSON.stringify(one.entry)}\n`
    text += line
    chunks.push(...one.chunks)
    count += 1
    if (count < MAX_SEGMENT_ENTRIES && !sha(line).startsWith('00')) continue
    yield { text, chunks }
    text = ''
    chunks = []
    count = 0
  }
  if (text !== '') yield { text, chunks }
}

/** Reads the question of a save; answers the hashes that the server has. */
export async function readQuestion(pair: ChannelPair): Promise<Set<string>> {
  const known = new Set<string>()
  for (;;) {
    const message = await pair.request()
    if (message === undefined) throw new Error('the server has gone')
    if (!(message instanceof Uint8Array)) {
      if (message.type === 'known_end') return known
      if (message.type !== 'save') throw new Error(`${message.type} in a save`)
      continue
    }
    const hex = Buffer.from(message).toString('hex')
    for (let at = 0; at < hex.length; at += 64) known.add(hex.slice(at, at + 64))
  }
}

export const saved: ArchiveReply = { type: 'saved', entries: 0, bytes: 0, refused: [], refused_count: 0 }

/** A save as an honest helper does it. */
export async function playSave(pair: ChannelPair, tree: Tree): Promise<void> {
  const known = await readQuestion(pair)
  for (const { text, chunks } of segmentsOf(tree)) {
    const segment = sha(text)
    if (known.has(segment)) {
      await pair.reply({ type: 'known_segment', hash: segment })
      continue
    }
    for (const chunk of chunks) {
      const name = sha(chunk)
      if (known.has(name)) continue
      known.add(name)
      await pair.reply(chunk)
    }
    await pair.reply({ type: 'segment', text })
  }
  await pair.reply(saved)
}

/** A restore as an honest helper does it; answers what came. */
export async function playRestore(pair: ChannelPair): Promise<Tree> {
  const tree: Record<string, FileNode> = {}
  const next = async (): Promise<Uint8Array> => {
    const chunk = await pair.request()
    if (!(chunk instanceof Uint8Array)) throw new Error('no chunk')
    return chunk
  }
  for (;;) {
    const message = await pair.request()
    if (message === undefined || message instanceof Uint8Array) throw new Error('out of place')
    if (message.type === 'restore') continue
    if (message.type === 'end') break
    if (message.type !== 'segment') throw new Error(`${message.type} in a restore`)
    for (const line of message.text.trimEnd().split('\n')) {
      const entry = archiveEntry.parse(JSON.parse(line))
      if (typeof entry.p === 'string' && entry.p !== '') tree[entry.p] = await takeNode(entry, next)
    }
  }
  await pair.reply({ type: 'restored', entries: Object.keys(tree).length, bytes: 0 })
  return tree
}

async function takeNode(entry: ArchiveEntry, next: () => Promise<Uint8Array>): Promise<FileNode> {
  if (entry.k === 'dir') return { dir: true }
  if (entry.k === 'link') return { link: textOf(entry.to) }
  if (entry.k === 'hard') return { hard: textOf(entry.of.p) }
  if (entry.sparse === true) return { hole: entry.s }
  const chunks: Uint8Array[] = []
  for (const chunk of entry.c) if (typeof chunk === 'string') chunks.push(await next())
  return { bytes: new Uint8Array(Buffer.concat(chunks)) }
}

/** The text, or what stands for its bytes. */
export function textOf(text: string | { b64: string }): string {
  return typeof text === 'string' ? text : text.b64
}
