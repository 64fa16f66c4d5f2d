import { MAX_SEGMENT_BYTES, MAX_SEGMENT_ENTRIES } from '@berth/protocol/archive'
import type { ArchiveEntry } from '@berth/protocol/archive'
import { hash } from 'node:crypto'
import { ArchiveFailure } from './failure.ts'
import type { FrameOutput } from './frames.ts'

/** Escaped once more in its message, a text may double, and the message has a limit, too. */
const MAX_BYTES = MAX_SEGMENT_BYTES - 1024

/** Sends what the server does not have: chunks as they come, and entries gathered into segments. */
export class SegmentWriter {
  readonly #output: FrameOutput
  /** Hashes of all that the server has or has been sent. */
  readonly #known: Set<string>
  #lines: string[] = []
  #bytes = 0

  constructor(output: FrameOutput, known: Set<string>) {
    this.#output = output
    this.#known = known
  }

  isKnown(sha256: string): boolean {
    return this.#known.has(sha256)
  }

  /** Answers the chunk's hash. */
  chunk(bytes: Uint8Array): string {
    const sha256 = hash('sha256', bytes)
    if (!this.#known.has(sha256)) {
      this.#known.add(sha256)
      this.#output.binary(bytes)
    }
    return sha256
  }

  entry(entry: ArchiveEntry, path: () => string): void {
    const line = JSON.stringify(entry)
    const bytes = Buffer.byteLength(line) + 1
    if (bytes > MAX_BYTES) throw new ArchiveFailure('limit', `the entry of ${path()} is too large to be written down`)
    if (this.#bytes + bytes > MAX_BYTES) this.end()
    this.#lines.push(line)
    this.#bytes += bytes
    if (this.#lines.length >= MAX_SEGMENT_ENTRIES || hash('sha256', line).startsWith('00')) this.end()
  }

  /** Ends the present segment, if there is one. */
  end(): void {
    if (this.#lines.length === 0) return
    const text = `${this.#lines.join('\n')}\n`
    this.#lines = []
    this.#bytes = 0
    const sha256 = hash('sha256', text)
    if (this.#known.has(sha256)) return this.#output.json({ type: 'known_segment', hash: sha256 })
    this.#known.add(sha256)
    this.#output.json({ type: 'segment', text })
  }
}
