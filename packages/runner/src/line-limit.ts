import { Transform } from 'node:stream'
import type { TransformCallback } from 'node:stream'

const NEWLINE = 10

/**
 * Passes the CLI's output on, each chunk when there is room for what it will become. A line longer than `maxBytes` ends the stream with
 * an error: whoever reads lines would otherwise collect it in memory without bound. Lines that begin and end within one chunk are not
 * looked at: the pipe keeps chunks far smaller than any limit.
 */
export class LineLimit extends Transform {
  readonly #maxBytes: number
  readonly #room: () => Promise<void>
  #line = 0

  constructor(maxBytes: number, room: () => Promise<void>) {
    super()
    this.#maxBytes = maxBytes
    this.#room = room
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const first = chunk.indexOf(NEWLINE)
    const longest = this.#line + (first < 0 ? chunk.length : first)
    this.#line = first < 0 ? longest : chunk.length - chunk.lastIndexOf(NEWLINE) - 1
    if (longest > this.#maxBytes) {
      done(new Error(`the CLI wrote a line of more than ${this.#maxBytes} bytes`))
      return
    }
    void this.#pass(chunk, done)
  }

  async #pass(chunk: Buffer, done: TransformCallback): Promise<void> {
    try {
      await this.#room()
    } catch {
      // Nobody waits for room any more because the CLI is being ended: let what is left pass.
    }
    done(null, chunk)
  }
}
