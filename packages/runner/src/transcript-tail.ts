import { closeSync, fstatSync, readSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SessionFiles } from './session-files.ts'

const LOOK_EVERY_MS = 100
/** Bytes per report, or one line if that is longer. */
const PART_BYTES = 256 * 1024
/** A line that the CLI writes is bounded as its output is; what is longer is no transcript. */
const MAX_LINE_BYTES = 32 * 1024 * 1024
const NEWLINE = 0x0a

export interface TailOptions {
  readonly files: SessionFiles
  /** As `SessionFiles` takes it. */
  readonly path: string
  /** Bytes that were reported before. */
  readonly from: number
  /** Whole lines, in order, without gaps. */
  readonly onLines: (start: number, length: number, text: string) => void
}

/** Reports what the CLI appends to a transcript, as it appends it. A file that does not exist yet is waited for. */
export class TranscriptTail implements Disposable {
  readonly #options: TailOptions
  #timer: NodeJS.Timeout | undefined
  #fd: number | undefined
  #end: number
  #isBroken = false

  constructor(options: TailOptions) {
    this.#options = options
    this.#end = options.from
  }

  /** Looks again and again, until `rest`. Idempotent. */
  watch(): void {
    this.#timer ??= setInterval(() => this.read(), LOOK_EVERY_MS)
  }

  /** Looks no more by itself: nothing is expected. */
  rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Reports the lines that are complete by now. */
  read(): void {
    if (this.#isBroken) return
    try {
      this.#fd ??= this.#options.files.openToRead(this.#options.path)
      if (this.#fd !== undefined) while (this.#readPart(this.#fd));
    } catch {
      // A file that cannot be read, or is no transcript, is the session's own doing: it can only be brought back from what was reported.
      this.#isBroken = true
    }
  }

  /** Reads until `seen` says so, or the time is up: the CLI may say that it is done before its last line is in the file. */
  async readUntil(seen: () => boolean, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.read()
      if (seen() || this.#isBroken) return
      await sleep(LOOK_EVERY_MS / 5, undefined, { signal }).catch(() => undefined)
    }
  }

  [Symbol.dispose](): void {
    this.rest()
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    this.#isBroken = true
  }

  /** Answers whether there may be more. */
  #readPart(fd: number): boolean {
    const unread = fstatSync(fd).size - this.#end
    if (unread <= 0) return false
    for (let size = Math.min(unread, PART_BYTES); ; size = Math.min(unread, size * 2)) {
      const bytes = Buffer.alloc(size)
      const length = readSync(fd, bytes, 0, size, this.#end)
      const whole = bytes.subarray(0, length).lastIndexOf(NEWLINE) + 1
      if (whole > 0) {
        this.#options.onLines(this.#end, whole, bytes.toString('utf8', 0, whole))
        this.#end += whole
        return true
      }
      if (size >= unread) return false
      if (size > MAX_LINE_BYTES)
        throw new Error(`a line of ${this.#options.path} is longer than ${MAX_LINE_BYTES} bytes`)
    }
  }
}
