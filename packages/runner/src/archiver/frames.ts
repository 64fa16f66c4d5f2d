import { MAX_CHANNEL_MESSAGE } from '@berth/protocol/channel-constants'
import { readSync, writeSync } from 'node:fs'

/** Length of the body (4 bytes, big endian), then its kind. */
export const FRAME_HEAD = 5
export const FRAME_JSON = 0
export const FRAME_BINARY = 1
/** Collected before it is written: many small files would be as many system calls. */
const OUTPUT_BYTES = 256 * 1024

export type Frame =
  | { readonly kind: 'json'; readonly text: string }
  /** Valid until the next frame is asked for. */
  | { readonly kind: 'binary'; readonly bytes: Buffer }

/** Frames from a blocking descriptor. */
export class FrameInput {
  readonly #fd: number
  readonly #buffer = Buffer.allocUnsafe(MAX_CHANNEL_MESSAGE + FRAME_HEAD)
  #start = 0
  #end = 0

  constructor(fd: number) {
    this.#fd = fd
  }

  /** Waits for the next frame; undefined at the end of the input. */
  next(): Frame | undefined {
    if (!this.#have(FRAME_HEAD)) return undefined
    const length = this.#buffer.readUInt32BE(this.#start)
    if (length > MAX_CHANNEL_MESSAGE) throw new Error(`a frame of ${length} bytes`)
    if (!this.#have(FRAME_HEAD + length)) return undefined
    const kind = this.#buffer[this.#start + FRAME_HEAD - 1]
    const begin = this.#start + FRAME_HEAD
    this.#start = begin + length
    if (kind === FRAME_BINARY) return { kind: 'binary', bytes: this.#buffer.subarray(begin, begin + length) }
    return { kind: 'json', text: this.#buffer.toString('utf8', begin, begin + length) }
  }

  #have(bytes: number): boolean {
    while (this.#end - this.#start < bytes) {
      if (this.#start + bytes > this.#buffer.length) {
        this.#buffer.copyWithin(0, this.#start, this.#end)
        this.#end -= this.#start
        this.#start = 0
      }
      const read = readSync(this.#fd, this.#buffer, this.#end, this.#buffer.length - this.#end, null)
      if (read === 0) return false
      this.#end += read
    }
    return true
  }
}

/** Frames to a blocking descriptor: a reader that is slow holds up the writer. */
export class FrameOutput {
  readonly #fd: number
  readonly #buffer = Buffer.allocUnsafe(OUTPUT_BYTES)
  #used = 0

  constructor(fd: number) {
    this.#fd = fd
  }

  json(message: object): void {
    this.#add(FRAME_JSON, Buffer.from(JSON.stringify(message)))
  }

  binary(bytes: Uint8Array): void {
    this.#add(FRAME_BINARY, bytes)
  }

  flush(): void {
    writeAll(this.#fd, this.#buffer.subarray(0, this.#used))
    this.#used = 0
  }

  #add(kind: number, body: Uint8Array): void {
    if (body.length > MAX_CHANNEL_MESSAGE) throw new Error(`a frame of ${body.length} bytes`)
    if (this.#used + FRAME_HEAD + body.length > OUTPUT_BYTES) this.flush()
    this.#buffer.writeUInt32BE(body.length, this.#used)
    this.#buffer[this.#used + FRAME_HEAD - 1] = kind
    this.#used += FRAME_HEAD
    if (this.#used + body.length > OUTPUT_BYTES) {
      this.flush()
      return writeAll(this.#fd, body)
    }
    this.#buffer.set(body, this.#used)
    this.#used += body.length
  }
}

export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done)
}
