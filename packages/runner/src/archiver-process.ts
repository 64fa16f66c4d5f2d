import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'

const STDERR_TAIL_BYTES = 1024
/** What it knows of a session's files may be as large as this, bytes; a little more than it writes. */
const MAX_CACHE_BYTES = 33 * 1024 * 1024
/** For a directory of a million entries. */
const NODE_FLAGS = ['--max-old-space-size=512', '--max-semi-space-size=16']

export interface ArchiverLaunch {
  readonly program: string
  /** uid and gid; undefined: the runner's own. */
  readonly uid: number | undefined
  /** What an earlier one has answered as its cache, or nothing. */
  readonly cache: Buffer
}

export interface ArchiverExit {
  /** The cache for the next time; empty where it has none. */
  readonly cache: Buffer
}

/** One helper process, in a group of its own. It sees nothing of the runner but its pipes. */
export class ArchiverProcess implements AsyncDisposable {
  readonly stdin: Writable
  readonly stdout: Readable
  /** Resolves when it has ended well, rejects when it has not. */
  readonly ended: Promise<ArchiverExit>
  readonly #child: ChildProcess
  #stderr = ''

  constructor({ program, uid, cache }: ArchiverLaunch) {
    this.#child = spawn(process.execPath, [...NODE_FLAGS, program], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    })
    const [stdin, stdout, stderr, cacheIn, cacheOut] = this.#child.stdio
    if (!stdin || !stdout || !stderr || !cacheIn || !cacheOut || !('write' in cacheIn) || !('read' in cacheOut))
      throw new Error('the archive helper has no pipes')
    // A helper that has ended takes nothing more: how it ended says why.
    for (const stream of [stdin, cacheIn]) stream.on('error', () => undefined)
    stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_TAIL_BYTES)
    })
    this.stdin = stdin
    this.stdout = stdout
    this.ended = this.#end(cacheOut)
    this.ended.catch(() => undefined)
    cacheIn.end(cache)
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Ends it, and resolves when it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill()
    await this.ended.catch(() => undefined)
  }

  kill(): void {
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, 'SIGKILL')
    } catch {
      // It has ended.
    }
  }

  async #end(cacheOut: Readable): Promise<ArchiverExit> {
    const [cache] = await Promise.all([this.#collect(cacheOut), once(this.#child, 'exit')])
    const { exitCode, signalCode } = this.#child
    if (exitCode === 0) return { cache }
    throw new Error(`the archive helper ended with ${signalCode ?? exitCode}: ${this.#stderr.trim()}`)
  }

  async #collect(stream: Readable): Promise<Buffer> {
    const parts: Buffer[] = []
    let bytes = 0
    for await (const part of stream) {
      if (!(part instanceof Buffer)) continue
      bytes += part.length
      if (bytes > MAX_CACHE_BYTES) this.kill()
      else parts.push(part)
    }
    return Buffer.concat(parts)
  }
}
