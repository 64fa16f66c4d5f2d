import { chmodSync, closeSync, constants, fstatSync, mkdirSync, openSync, statSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { errno, ArchiveFailure, failureOf } from './failure.ts'
import { native, shown } from './byte-path.ts'
import type { BytePath } from './byte-path.ts'

/** Names a file and gives no access to it: to be had without any permission on the file itself. */
export const O_PATH = 0o10000000
const { O_DIRECTORY, O_NOFOLLOW } = constants
export const PERMISSIONS = 0o777

interface Level {
  /** In the directory above. */
  readonly name: BytePath
  readonly dev: bigint
  readonly ino: bigint
  /** Its permissions, where they were widened to enter it. */
  readonly narrow: number | undefined
}

/**
 * Where the helper stands: one directory, which is the process's working directory, so that every name is looked up in it and nowhere
 * else. It goes down by opening without following links, and up by `..`, where it must find what it came from. So no path is too long, no
 * number of levels takes descriptors, and a directory that is exchanged for a link leads nowhere.
 */
export class Place implements Disposable {
  readonly #levels: Level[] = []
  #stats: BigIntStats | undefined

  /** Stands in the root. One that is missing is made, for the session alone. */
  constructor(path: string, needs: number) {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 })
    } catch (error) {
      if (errno(error) !== 'EEXIST') throw failureOf(error, path)
    }
    try {
      this.#enter(path, needs)
    } catch (error) {
      if (errno(error) !== 'ENOTDIR' && errno(error) !== 'ELOOP') throw failureOf(error, path)
      throw new ArchiveFailure('io', `${path} is not a directory`)
    }
  }

  /** Directories below the root. */
  get depth(): number {
    return this.#levels.length - 1
  }

  /** The directory that was entered last, as it was before. */
  get stats(): BigIntStats {
    if (this.#stats === undefined) throw new Error('nothing was entered')
    return this.#stats
  }

  /**
   * Goes into a directory of this one; answers what it is. `needs`: permissions of the owner without which there is nothing to be done
   * there: an own directory that lacks them has them until it is left. Throws the system's error when there is no directory or no access.
   */
  enter(name: BytePath, needs: number): BigIntStats {
    return this.#enter(name, needs)
  }

  /** Goes back up. Answers the name of the directory that was left. */
  leave(): BytePath {
    const left = this.#levels.pop()
    const above = this.#levels.at(-1)
    if (left === undefined || above === undefined) throw new Error('nothing to leave')
    process.chdir('..')
    const here = statSync('.', { bigint: true })
    if (here.dev !== above.dev || here.ino !== above.ino) {
      throw new ArchiveFailure('io', `${shown(left.name)} was moved meanwhile`)
    }
    if (left.narrow !== undefined) this.#narrow(left, left.narrow)
    return left.name
  }

  /** Back to the root and out of it; permissions are again what they were, as far as possible. */
  [Symbol.dispose](): void {
    try {
      while (this.#levels.length > 1) this.leave()
      const root = this.#levels.pop()
      if (root?.narrow !== undefined) chmodSync('.', root.narrow)
    } catch {
      // What was moved away cannot be reached any more.
    }
    process.chdir('/')
  }

  #enter(name: BytePath, needs: number): BigIntStats {
    const fd = openSync(native(name), O_PATH | O_DIRECTORY | O_NOFOLLOW)
    try {
      const stats = fstatSync(fd, { bigint: true })
      const mode = Number(stats.mode) & 0o7777
      const widen = (mode & needs) !== needs && stats.uid === BigInt(process.geteuid?.() ?? -1)
      if (widen) chmodSync(`/proc/self/fd/${fd}`, mode | needs)
      process.chdir(`/proc/self/fd/${fd}`)
      this.#levels.push({ name, dev: stats.dev, ino: stats.ino, narrow: widen ? mode : undefined })
      this.#stats = stats
      return stats
    } finally {
      closeSync(fd)
    }
  }

  #narrow({ name, dev, ino }: Level, mode: number): void {
    const fd = openSync(native(name), O_PATH | O_DIRECTORY | O_NOFOLLOW)
    try {
      const stats = fstatSync(fd, { bigint: true })
      if (stats.dev === dev && stats.ino === ino) chmodSync(`/proc/self/fd/${fd}`, mode)
    } finally {
      closeSync(fd)
    }
  }
}
