import { closeSync, constants, fstatSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { actingAs } from './acting-as.ts'

/**
 * The runner's access to files of a session. Its own uid may not enter the session's home, so what opens or makes a file is done with the
 * session's uid as the effective one, in one synchronous step; from then on the descriptor is enough. Whatever stands at a path, no more is
 * reached than the session itself could reach.
 */
export class SessionFiles {
  readonly #root: string
  readonly #uid: number | undefined

  /** `uid` undefined: the runner's own. */
  constructor(root: string, uid: number | undefined) {
    this.#root = root
    this.#uid = uid
  }

  /** A descriptor to read a regular file; undefined when there is none. Links are not followed, a pipe does not block. */
  openToRead(path: string): number | undefined {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    return this.#asSession(() => {
      try {
        const fd = openSync(this.#inside(path), flags)
        if (fstatSync(fd).isFile()) return fd
        closeSync(fd)
        return undefined
      } catch {
        return undefined
      }
    })
  }

  /** Bytes of a file; 0 where there is none. */
  size(path: string): number {
    const fd = this.openToRead(path)
    if (fd === undefined) return 0
    try {
      return fstatSync(fd).size
    } finally {
      closeSync(fd)
    }
  }

  /** What stands in a file from there on. */
  readFrom(path: string, start: number): Buffer {
    const fd = this.openToRead(path)
    if (fd === undefined) return Buffer.alloc(0)
    try {
      const bytes = Buffer.alloc(Math.max(0, fstatSync(fd).size - start))
      return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, start))
    } finally {
      closeSync(fd)
    }
  }

  /** Leaves the first bytes of a file that is there. */
  cut(path: string, bytes: number): void {
    const flags = constants.O_WRONLY | constants.O_NOFOLLOW
    this.#asSession(() => {
      const fd = openSync(this.#inside(path), flags)
      try {
        ftruncateSync(fd, bytes)
      } finally {
        closeSync(fd)
      }
    })
  }

  /** Writes at `start`, which must be the file's end; 0 begins the file anew. Throws when the file is shorter or longer. */
  append(path: string, start: number, bytes: Uint8Array): void {
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants
    const flags = O_WRONLY | O_CREAT | O_NOFOLLOW | (start === 0 ? O_TRUNC : 0)
    this.#asSession(() => {
      const file = this.#inside(path)
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
      const fd = openSync(file, flags, 0o600)
      try {
        const { size } = fstatSync(fd)
        if (size !== start) throw new Error(`${path} has ${size} bytes, the next part begins at ${start}`)
        for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, start + done)
      } finally {
        closeSync(fd)
      }
    })
  }

  #inside(path: string): string {
    const clean = normalize(path)
    if (clean.startsWith('/') || clean.split('/').includes('..')) throw new Error(`${path} leads out of the session`)
    return join(this.#root, clean)
  }

  #asSession<Result>(step: () => Result): Result {
    return this.#uid === undefined ? step() : actingAs(this.#uid, this.#uid, step)
  }
}
