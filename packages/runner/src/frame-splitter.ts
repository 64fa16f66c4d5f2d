import { MAX_CHANNEL_MESSAGE } from '@berth/protocol/channel-constants'
import { FRAME_HEAD } from './archiver/frames.ts'

/** What stands before the body of a frame to or from the helper. */
export function frameHead(length: number, kind: number): Buffer {
  const head = Buffer.allocUnsafe(FRAME_HEAD)
  head.writeUInt32BE(length)
  head[FRAME_HEAD - 1] = kind
  return head
}

/** Finds the helper's frames in the parts of a stream. Keeps no more than one of them. */
export class FrameSplitter {
  readonly #onFrame: (kind: number, body: Buffer) => void
  #parts: Buffer[] = []
  #bytes = 0
  #needed = FRAME_HEAD

  constructor(onFrame: (kind: number, body: Buffer) => void) {
    this.#onFrame = onFrame
  }

  /** Throws when a frame is larger than a message may be. */
  add(part: Buffer): void {
    this.#parts.push(part)
    this.#bytes += part.length
    if (this.#bytes < this.#needed) return
    let rest = this.#parts.length === 1 ? part : Buffer.concat(this.#parts)
    this.#needed = FRAME_HEAD
    while (rest.length >= FRAME_HEAD) {
      const length = rest.readUInt32BE()
      if (length > MAX_CHANNEL_MESSAGE) throw new Error(`a frame of ${length} bytes`)
      this.#needed = FRAME_HEAD + length
      if (rest.length < this.#needed) break
      this.#onFrame(rest[FRAME_HEAD - 1] ?? 0, rest.subarray(FRAME_HEAD, this.#needed))
      rest = rest.subarray(this.#needed)
      this.#needed = FRAME_HEAD
    }
    this.#parts = rest.length === 0 ? [] : [rest]
    this.#bytes = rest.length
  }
}
