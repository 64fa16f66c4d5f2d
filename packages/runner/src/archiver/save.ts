import type { ArchiveReply, ArchiveRequest, ArchiveRoot } from '@berth/protocol/archive'
import { lstatSync, readlinkSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { Budget } from './budget.ts'
import { Exclusions, native, shown, toWire } from './byte-path.ts'
import type { BytePath } from './byte-path.ts'
import { errno, failureOf } from './failure.ts'
import { type FileContent, FileReader, isSparse } from './file-reader.ts'
import { keepable } from './file-time.ts'
import { namesIn } from './names-here.ts'
import { PERMISSIONS, Place } from './place.ts'
import { Refusals } from './refusals.ts'
import type { SegmentWriter } from './segment-writer.ts'
import type { WalkCache } from './walk-cache.ts'

/** Permissions that the owner needs to list a directory and to go into it. */
const LIST = 0o500
/**
 * A file changed less than this long before the walk is read again the next time: file systems note times in steps, and it may change
 * again within the same one.
 */
export const CLOCK_STEP_NS = 50_000_000n

interface Named {
  readonly root: string
  readonly path: BytePath
}

interface Level {
  /** Of the directory, with a slash behind it; empty for the root. */
  readonly prefix: BytePath
  readonly names: readonly BytePath[]
  next: number
}

interface Root extends ArchiveRoot {
  readonly exclusions: Exclusions
  dev: bigint
}

/** One walk through all roots, which sends what the server does not have. */
export class Save {
  readonly #writer: SegmentWriter
  readonly #cache: WalkCache
  readonly #reader: FileReader
  readonly #budget: Budget
  readonly #refusals = new Refusals()
  /** First names of files that have several, by device and inode. */
  readonly #linked = new Map<string, Named>()
  readonly #steadyBefore: bigint

  constructor(request: ArchiveRequest & { type: 'save' }, writer: SegmentWriter, cache: WalkCache) {
    this.#writer = writer
    this.#cache = cache
    this.#reader = new FileReader(writer)
    this.#budget = new Budget(request.limits, Date.now)
    this.#steadyBefore = BigInt(Date.now()) * 1_000_000n - CLOCK_STEP_NS
  }

  run(roots: readonly ArchiveRoot[]): ArchiveReply & { type: 'saved' } {
    for (const root of roots) this.#root({ ...root, exclusions: new Exclusions(root.exclude), dev: 0n })
    this.#writer.end()
    const { refused, refused_count } = this.#refusals
    return { type: 'saved', entries: this.#budget.entries, bytes: this.#budget.bytes, refused, refused_count }
  }

  #root(root: Root): void {
    using place = new Place(root.path, LIST)
    const stats = place.stats
    root.dev = stats.dev
    this.#directory(root, '', place)
    const levels: Level[] = [this.#list(root, '')]
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const name = level.names[level.next++]
      if (name === undefined) {
        levels.pop()
        if (levels.length > 0) place.leave()
        continue
      }
      const path = level.prefix + name
      if (root.exclusions.has(path)) continue
      if (this.#entry(root, path, name, place)) levels.push(this.#list(root, `${path}/`))
    }
  }

  #list(root: Root, prefix: BytePath): Level {
    try {
      const left = this.#budget.limits.entries - this.#budget.entries
      return { prefix, names: namesIn('.', left).toSorted(), next: 0 }
    } catch (error) {
      if (errno(error) !== 'EACCES') throw failureOf(error, this.#show(root, prefix))
      this.#refusals.add(root.name, prefix.slice(0, -1), 'belongs to another user and cannot be read')
      return { prefix, names: [], next: 0 }
    }
  }

  /** Answers whether it is a directory, in which the helper stands now. */
  #entry(root: Root, path: BytePath, name: BytePath, place: Place): boolean {
    try {
      const stats = lstatSync(native(name), { bigint: true })
      if (stats.isDirectory()) return this.#goInto(root, path, name, place)
      if (stats.isFile()) this.#file(root, path, name, stats)
      else if (stats.isSymbolicLink()) this.#link(root, path, name, stats)
      else this.#refusals.add(root.name, path, `is ${kindOf(stats)}`)
      return false
    } catch (error) {
      const why = reasons[errno(error)]
      if (why === undefined) throw failureOf(error, this.#show(root, path))
      this.#refusals.add(root.name, path, why)
      return false
    }
  }

  #goInto(root: Root, path: BytePath, name: BytePath, place: Place): boolean {
    const stats = place.enter(name, LIST)
    if (stats.dev !== root.dev) {
      place.leave()
      this.#refusals.add(root.name, path, 'is another file system')
      return false
    }
    this.#directory(root, path, place)
    return true
  }

  #directory(root: Root, path: BytePath, place: Place): void {
    const stats = place.stats
    this.#count(root, path, place.depth)
    this.#writer.entry({ k: 'dir', ...this.#common(root, path, stats) }, () => this.#show(root, path))
  }

  #link(root: Root, path: BytePath, name: BytePath, stats: BigIntStats): void {
    const to = readlinkSync(native(name), 'latin1')
    this.#count(root, path, 0)
    const entry = { k: 'link', ...this.#common(root, path, stats), to: toWire(to) } as const
    this.#writer.entry(entry, () => this.#show(root, path))
  }

  #file(root: Root, path: BytePath, name: BytePath, stats: BigIntStats): void {
    const inode = `${stats.dev}:${stats.ino}`
    const first = stats.nlink > 1n ? this.#linked.get(inode) : undefined
    if (first !== undefined) {
      this.#count(root, path, 0)
      const of = { r: first.root, p: toWire(first.path) }
      const entry = { k: 'hard', ...this.#common(root, path, stats), of } as const
      return this.#writer.entry(entry, () => this.#show(root, path))
    }
    const show = (): string => this.#show(root, path)
    const content = this.#remembered(stats) ?? this.#read(name, show)
    if (content === undefined) return this.#refusals.add(root.name, path, 'changed while it was read')
    this.#count(root, path, 0)
    this.#budget.size(show, content.size)
    if (content.stats !== undefined && content.stats.ctimeNs < this.#steadyBefore)
      this.#cache.add(content.stats, content.pieces)
    const { size: s, sparse } = content
    const common = this.#common(root, path, stats)
    this.#writer.entry({ k: 'file', ...common, s, c: [...content.pieces], ...(sparse ? { sparse } : {}) }, show)
    if (stats.nlink > 1n) this.#linked.set(inode, { root: root.name, path })
  }

  #read(name: BytePath, show: () => string): FileContent | undefined {
    return this.#reader.read(name, {
      // Holes are read as zeros, and there may be terabytes of them.
      begin: (bytes) => this.#budget.fits(show, bytes),
      chunk: () => this.#budget.time(show),
    })
  }

  /** What the file held at the last walk, when it is the same since and the server has all of it. */
  #remembered(stats: BigIntStats): FileContent | undefined {
    const pieces = this.#cache.find(stats)
    if (pieces?.every((piece) => typeof piece === 'number' || this.#writer.isKnown(piece)) !== true) return undefined
    return { size: Number(stats.size), pieces, sparse: isSparse(stats), stats }
  }

  #common(
    root: Root,
    path: BytePath,
    stats: BigIntStats,
  ): { r: string; p: ReturnType<typeof toWire>; m: number; t: string } {
    const mode = Number(stats.mode)
    if ((mode & 0o7000) !== 0)
      this.#refusals.add(root.name, path, 'has setuid, setgid or sticky bits, which are not kept')
    return { r: root.name, p: toWire(path), m: mode & PERMISSIONS, t: String(keepable(stats.mtimeNs)) }
  }

  #count(root: Root, path: BytePath, depth: number): void {
    this.#budget.entry(() => this.#show(root, path), depth)
  }

  #show(root: Root, path: BytePath): string {
    return `${root.path}/${shown(path)}`
  }
}

/** Why something cannot be kept that can be seen. Anything else fails the whole. */
const reasons: Readonly<Record<string, string>> = {
  EACCES: 'belongs to another user and cannot be read',
  EPERM: 'cannot be read',
  ENOENT: 'changed while it was read',
  ENOTDIR: 'changed while it was read',
  ELOOP: 'changed while it was read',
  ENXIO: 'changed while it was read',
}

function kindOf(stats: BigIntStats): string {
  if (stats.isFIFO()) return 'a pipe'
  if (stats.isSocket()) return 'a socket'
  return 'a device'
}
