import type { ArchiveEntry, ArchiveLimits, ArchiveReply, ArchiveRoot } from '@berth/protocol/archive'
import { chmodSync, linkSync, lstatSync, lutimesSync, mkdirSync, symlinkSync } from 'node:fs'
import { Budget } from './budget.ts'
import { Exclusions, native, shown } from './byte-path.ts'
import type { BytePath } from './byte-path.ts'
import { CHANGE, clear } from './clear.ts'
import { bad, pathOf, readEntry, targetOf } from './entry-check.ts'
import { errno, failureOf } from './failure.ts'
import { settable } from './file-time.ts'
import { writeFile } from './file-writer.ts'
import { Place } from './place.ts'
import { reach } from './reach.ts'
import type { WalkCache } from './walk-cache.ts'

type Common = Pick<ArchiveEntry, 'm' | 't'>

interface Root extends ArchiveRoot {
  readonly exclusions: Exclusions
}

/** A directory that is being filled: its entry, and its path with a slash behind it. */
interface Open {
  readonly prefix: BytePath
  readonly entry: Common
}

/**
 * Makes the roots what an archive says. Entries come in the order of the walk, so that at any time the directories that are open are those
 * above the next entry; one for which that is not so is refused. What is closed has got its final permissions and times.
 */
export class Restore implements Disposable {
  readonly #roots = new Map<string, Root>()
  readonly #budget: Budget
  readonly #cache: WalkCache
  readonly #nextChunk: () => Buffer
  readonly #begun = new Set<string>()
  /** Directories whose final permissions would keep hard links from being made to what is in them. */
  readonly #narrow: { readonly root: Root; readonly path: BytePath; readonly mode: number }[] = []
  #root: Root | undefined
  #place: Place | undefined
  #open: Open[] = []

  /** `nextChunk` waits for the next chunk of the segment's entries. */
  constructor(limits: ArchiveLimits, cache: WalkCache, nextChunk: () => Buffer) {
    this.#budget = new Budget(limits, Date.now)
    this.#cache = cache
    this.#nextChunk = nextChunk
  }

  /** Empties all roots. */
  begin(roots: readonly ArchiveRoot[]): void {
    for (const each of roots) {
      const root = { ...each, exclusions: new Exclusions(each.exclude) }
      this.#roots.set(root.name, root)
      using place = new Place(root.path, CHANGE)
      clear({ ...root, budget: this.#budget }, place)
    }
  }

  segment(text: string): void {
    for (const line of text.split('\n')) if (line !== '') this.#entry(readEntry(line))
  }

  end(): ArchiveReply & { type: 'restored' } {
    this.#leaveRoot()
    for (const { root, path, mode } of this.#narrow) this.#at(root, path, (at) => chmodSync(at, mode))
    return { type: 'restored', entries: this.#budget.entries, bytes: this.#budget.bytes }
  }

  [Symbol.dispose](): void {
    this.#place?.[Symbol.dispose]()
  }

  #entry(entry: ArchiveEntry): void {
    const path = pathOf(entry.p)
    const root = this.#rootOf(entry.r)
    const show = (): string => `${root.path}/${shown(path)}`
    if (path === '') return this.#begin(root, entry)
    if (root.exclusions.covers(path)) throw bad(`${show()} is excluded`)
    this.#goAbove(root, path)
    const name = path.slice(path.lastIndexOf('/') + 1)
    this.#budget.entry(show, entry.k === 'dir' ? this.#open.length : 0)
    try {
      this.#make(root, entry, path, name)
    } catch (error) {
      if (errno(error) === 'EEXIST') throw bad(`${show()} comes twice, or stands above what is excluded`)
      throw failureOf(error, show())
    }
  }

  #make(root: Root, entry: ArchiveEntry, path: BytePath, name: BytePath): void {
    switch (entry.k) {
      case 'dir':
        return this.#directory(root, entry, path, name)
      case 'file': {
        this.#budget.size(() => `${root.path}/${shown(path)}`, entry.s)
        const stats = writeFile(name, entry, this.#nextChunk)
        return this.#cache.add(stats, entry.c)
      }
      case 'link': {
        symlinkSync(native(targetOf(entry.to, path)), native(name))
        const time = settable(BigInt(entry.t))
        return lutimesSync(native(name), time, time)
      }
      case 'hard': {
        const first = this.#rootOf(entry.of.r)
        const of = pathOf(entry.of.p)
        if (of === '' || first.exclusions.covers(of))
          throw bad(`${shown(path)} is a name of what is not in the archive`)
        return this.#at(first, of, (at) => {
          if (!lstatSync(at).isFile()) throw bad(`${shown(path)} is another name of ${shown(of)}, which is no file`)
          linkSync(at, native(name))
        })
      }
    }
  }

  #directory(root: Root, entry: Common, path: BytePath, name: BytePath): void {
    try {
      mkdirSync(native(name), 0o700)
    } catch (error) {
      if (errno(error) !== 'EEXIST' || !root.exclusions.isAbove(path)) throw error
    }
    this.#place?.enter(name, CHANGE)
    this.#open.push({ prefix: `${path}/`, entry })
  }

  /** The root's own entry comes first. */
  #begin(root: Root, entry: ArchiveEntry): void {
    if (entry.k !== 'dir') throw bad(`${root.path} is no directory in the archive`)
    if (this.#begun.has(root.name)) throw bad(`${root.path} comes twice`)
    this.#begun.add(root.name)
    this.#leaveRoot()
    this.#budget.entry(() => root.path, 0)
    this.#root = root
    this.#place = new Place(root.path, CHANGE)
    this.#open = [{ prefix: '', entry }]
  }

  /** Leaves directories until the helper stands in the one above the path. */
  #goAbove(root: Root, path: BytePath): void {
    if (root !== this.#root) throw bad(`${root.path}/${shown(path)} comes before its root`)
    const parent = path.slice(0, path.lastIndexOf('/') + 1)
    while (this.#open.at(-1)?.prefix !== parent) {
      if (this.#open.length <= 1) throw bad(`${root.path}/${shown(path)} comes before its directory`)
      this.#close(root)
    }
  }

  #close(root: Root): void {
    const closed = this.#open.pop()
    const name = this.#place?.leave()
    if (closed === undefined || name === undefined) return
    const { m, t } = closed.entry
    // Nothing can be reached through a directory without this.
    if ((m & 0o100) === 0) this.#narrow.push({ root, path: closed.prefix.slice(0, -1), mode: m })
    else chmodSync(native(name), m)
    const time = settable(BigInt(t))
    lutimesSync(native(name), time, time)
  }

  #leaveRoot(): void {
    const root = this.#root
    if (root === undefined) return
    while (this.#open.length > 1) this.#close(root)
    const entry = this.#open.pop()?.entry
    this.#place?.[Symbol.dispose]()
    this.#place = undefined
    this.#root = undefined
    if (entry !== undefined) finishRoot(root.path, entry)
  }

  #rootOf(name: string): Root {
    const root = this.#roots.get(name)
    if (root === undefined) throw bad(`an entry of the root ${JSON.stringify(name).slice(0, 200)}, which is none`)
    return root
  }

  #at(root: Root, path: BytePath, use: (at: string | Buffer) => void): void {
    try {
      reach(root.path, path, use)
    } catch (error) {
      if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR' || errno(error) === 'ELOOP')
        throw bad(`${root.path}/${shown(path)} does not stand before its other name`)
      throw failureOf(error, `${root.path}/${shown(path)}`)
    }
  }
}

/** A root may belong to the sandbox and not to the session, which then leaves it as it is. */
function finishRoot(path: string, { m, t }: Common): void {
  try {
    chmodSync(path, m)
    const time = settable(BigInt(t))
    lutimesSync(path, time, time)
  } catch (error) {
    if (errno(error) !== 'EPERM') throw failureOf(error, path)
  }
}
