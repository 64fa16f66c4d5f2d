/** What a helper says a tree is, checked entry by entry. Whatever passes can be restored without leaving its roots. */
import { BerthError } from '@berth/protocol'
import type { ArchiveEntry, ArchiveLimits, ArchiveRoot } from '@berth/protocol/archive'
import { type BytesText, partsOf, toLatin1 } from './archive-path.ts'
import { badArchive } from './bad-archive.ts'
import { chunkCount, type FileEntry, piecesOf } from './segment.ts'

/** Longest target of a symbolic link on Linux, bytes. */
const MAX_TARGET_BYTES = 4_095

interface Place {
  readonly root: number
  readonly parts: readonly string[]
}

export class TreeCheck {
  entries = 0
  /** Of all files, holes included. */
  bytes = 0
  readonly #roots: readonly ArchiveRoot[]
  readonly #limits: ArchiveLimits
  /** Bytes of a chunk that the tree may name; undefined when it may not. */
  readonly #sizeOf: (hash: string) => number | undefined
  readonly #excluded: readonly (readonly string[])[]
  readonly #files = new Set<string>()
  #last: (Place & { readonly isDirectory: boolean }) | undefined

  constructor(roots: readonly ArchiveRoot[], limits: ArchiveLimits, sizeOf: (hash: string) => number | undefined) {
    this.#roots = roots
    this.#limits = limits
    this.#sizeOf = sizeOf
    this.#excluded = roots.map((root) => root.exclude.map((path) => toLatin1(path) ?? ''))
  }

  /** Throws `internal` for what cannot be, `too_large` beyond a limit. */
  add(entry: ArchiveEntry): void {
    const place = this.#placeOf(entry.r, entry.p)
    this.#checkOrder(entry, place)
    this.#checkLimits(entry, place)
    switch (entry.k) {
      case 'dir':
        break
      case 'file':
        this.#addFile(entry, place)
        break
      case 'link':
        checkTarget(entry.p, entry.to)
        break
      case 'hard':
        if (this.#files.has(keyOf(this.#placeOf(entry.of.r, entry.of.p)))) break
        throw badArchive(`${show(entry.p)} is another name of ${show(entry.of.p)}, which is no file before it`)
    }
    this.#last = { ...place, isDirectory: entry.k === 'dir' }
  }

  #placeOf(name: string, text: BytesText): Place {
    const root = this.#roots.findIndex((one) => one.name === name)
    const path = toLatin1(text)
    const parts = path === undefined ? undefined : partsOf(path)
    if (root < 0)
      throw badArchive(`${show(text)} is of the root ${JSON.stringify(name.slice(0, 100))}, which was not asked for`)
    if (path === undefined || parts === undefined) throw badArchive(`${show(text)} is no path below a root`)
    const isExcluded = this.#excluded[root]?.some((excluded) => `${path}/`.startsWith(`${excluded}/`))
    if (isExcluded === true) throw badArchive(`${show(text)} is excluded`)
    return { root, parts }
  }

  /** Each directory before what is in it, names in the order of their bytes: so a parent is the last directory of that name. */
  #checkOrder(entry: ArchiveEntry, { root, parts }: Place): void {
    const last = this.#last
    if (last?.root !== root) {
      if (last !== undefined && root < last.root) throw badArchive(`${show(entry.p)} comes after a later root`)
      if (parts.length > 0 || entry.k !== 'dir') throw badArchive(`${show(entry.p)} comes before its root`)
      return
    }
    const differs = parts.findIndex((part, index) => part !== last.parts[index])
    const shared = differs < 0 ? parts.length : differs
    const isBelow = shared === last.parts.length
    const isAfter = isBelow ? parts.length > shared : (parts[shared] ?? '') > (last.parts[shared] ?? '')
    if (!isAfter) throw badArchive(`${show(entry.p)} is out of order`)
    if (parts.length !== shared + 1 || (isBelow && !last.isDirectory)) {
      throw badArchive(`${show(entry.p)} is in no directory that came before it`)
    }
  }

  #checkLimits(entry: ArchiveEntry, { parts }: Place): void {
    this.entries += 1
    if (this.entries > this.#limits.entries) throw beyond(`${this.#limits.entries} entries`)
    const depth = entry.k === 'dir' ? parts.length : parts.length - 1
    if (depth > this.#limits.depth) throw beyond(`${this.#limits.depth} levels of directories`)
  }

  #addFile(file: FileEntry, place: Place): void {
    this.bytes += file.s
    if (this.bytes > this.#limits.bytes) throw beyond(`${this.#limits.bytes} bytes`)
    let chunks = 0
    for (const { hash, bytes, count } of piecesOf(file)) {
      chunks += count
      if (hash !== null && this.#sizeOf(hash) !== bytes) {
        throw badArchive(`${show(file.p)} names the chunk ${hash}, which was not sent or has another size`)
      }
    }
    if (chunks !== chunkCount(file.s)) throw badArchive(`${show(file.p)} has ${file.s} bytes in ${chunks} chunks`)
    this.#files.add(keyOf(place))
  }
}

function keyOf({ root, parts }: Place): string {
  return `${root}/${parts.join('/')}`
}

function checkTarget(path: BytesText, to: BytesText): void {
  const target = toLatin1(to)
  const isFine = target !== undefined && target !== '' && target.length <= MAX_TARGET_BYTES && !target.includes('\0')
  if (!isFine) throw badArchive(`the link ${show(path)} leads to no path`)
}

function beyond(limit: string): BerthError {
  return new BerthError('too_large', `the session's files are more than ${limit}`, {
    details: { error_code: 'archive_limit' },
  })
}

function show(text: BytesText): string {
  return JSON.stringify(text).slice(0, 300)
}
