/** Blobs as files: `<dir>/<key>`. */
import { type FileHandle, mkdir, open, opendir, rename, rm, unlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { BerthError } from '@berth/protocol'
import { assertKey, type BlobRange, type BlobStore } from '../blob-store.ts'

/** Where files grow until they are whole. No key has a dot. */
const INCOMING = '.incoming'

/** Makes the directory (0700) if need be and removes what a server that died was about to write. One at a time may have it open. */
export async function openFileBlobs(dir: string): Promise<BlobStore> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await rm(join(dir, INCOMING), { recursive: true, force: true })
  await mkdir(join(dir, INCOMING), { mode: 0o700 })
  await syncDirectory(dir)
  await syncDirectory(dirname(dir))
  return new FileBlobs(dir)
}

class FileBlobs implements BlobStore {
  readonly #dir: string
  /** Directories whose own entries are known to be on the disk. */
  readonly #durable = new Set<string>()
  #names = 0

  constructor(dir: string) {
    this.#dir = dir
  }

  async put(key: string, parts: readonly Uint8Array[]): Promise<void> {
    assertKey(key)
    const path = join(this.#dir, key)
    const incoming = join(this.#dir, INCOMING, String(++this.#names))
    try {
      await this.#makeDirectory(dirname(path))
      await writeDurably(incoming, parts)
      await rename(incoming, path)
      await syncDirectory(dirname(path))
    } catch (error) {
      await rm(incoming, { force: true })
      throw explainFault(error)
    }
  }

  async get(key: string, range?: BlobRange): Promise<Uint8Array<ArrayBuffer>> {
    assertKey(key)
    try {
      await using file = await open(join(this.#dir, key), 'r')
      const { size } = await file.stat()
      const start = Math.min(range?.start ?? 0, size)
      return await readFully(file, start, Math.min(range?.length ?? size, size - start))
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      throw new BerthError('not_found', `the blob ${key} does not exist`, { cause: error })
    }
  }

  async delete(key: string): Promise<void> {
    assertKey(key)
    try {
      await unlink(join(this.#dir, key))
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
    }
  }

  async *list(prefix: string): AsyncGenerator<string> {
    for await (const key of this.#walk(this.#dir)) if (key.startsWith(prefix)) yield key
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }

  async *#walk(dir: string): AsyncGenerator<string> {
    for await (const entry of await opendir(dir)) {
      const path = join(dir, entry.name)
      if (entry.isFile()) yield relative(this.#dir, path)
      else if (entry.isDirectory() && entry.name !== INCOMING) yield* this.#walk(path)
    }
  }

  async #makeDirectory(dir: string): Promise<void> {
    if (dir === this.#dir || this.#durable.has(dir)) return
    await this.#makeDirectory(dirname(dir))
    await mkdir(dir, { recursive: true, mode: 0o700 })
    await syncDirectory(dirname(dir))
    this.#durable.add(dir)
  }
}

async function writeDurably(path: string, parts: readonly Uint8Array[]): Promise<void> {
  await using file = await open(path, 'wx', 0o600)
  for (const part of parts) await file.writeFile(part)
  await file.sync()
}

/** Fewer bytes where the file ends before. */
async function readFully(file: FileHandle, start: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, start + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return bytes.subarray(0, done)
}

/** A name that was put into or taken out of it outlives a power failure from then on. */
async function syncDirectory(dir: string): Promise<void> {
  await using handle = await open(dir, 'r')
  await handle.sync()
}

function explainFault(error: unknown): unknown {
  const code = codeOf(error)
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error
  return new BerthError('unavailable', 'the disk of the server is full; nothing was changed, try again later', {
    cause: error,
  })
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
