import { Duplex, Transform } from 'node:stream'
import { UNREAD_BYTES } from '../egress/unread-bytes.ts'

export interface Replacement {
  /** At least one byte. */
  readonly from: Buffer
  readonly to: Buffer
  /** Whose it is. */
  readonly name: string
}

/**
 * Replaces byte strings in a stream, however it is cut into chunks: from left to right, of several that begin at one place the longest.
 * Holds back no more than what may be the beginning of one.
 */
export class Replacer {
  readonly #replacements: readonly Replacement[]
  /** Names of what was replaced so far. */
  readonly found = new Set<string>()
  #held: Buffer = Buffer.alloc(0)

  constructor(replacements: readonly Replacement[]) {
    // Of several that match at one place, the first is taken.
    this.#replacements = replacements.toSorted((one, other) => other.from.length - one.from.length)
  }

  /** What is certain by now. */
  push(chunk: Buffer): Buffer {
    return this.#scan(this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]), false)
  }

  /** The rest. */
  end(): Buffer {
    return this.#scan(this.#held, true)
  }

  #scan(bytes: Buffer, isWhole: boolean): Buffer {
    const parts: Buffer[] = []
    const places = this.#replacements.map(({ from }) => bytes.indexOf(from))
    let at = 0
    let open = isWhole ? bytes.length : this.#openEnd(bytes, at)
    for (;;) {
      const next = this.#next(bytes, places, at)
      if (next === undefined || next.place >= open) break
      const { replacement, place } = next
      parts.push(bytes.subarray(at, place), replacement.to)
      this.found.add(replacement.name)
      at = place + replacement.from.length
      if (at > open) open = this.#openEnd(bytes, at)
    }
    // A copy, so that a few bytes do not keep a whole chunk in memory.
    this.#held = Buffer.from(bytes.subarray(open))
    parts.push(bytes.subarray(at, open))
    return parts.length === 1 ? (parts[0] ?? bytes) : Buffer.concat(parts)
  }

  /** The leftmost from `at` on. `places` are those found before, each brought up to date when it lies behind. */
  #next(bytes: Buffer, places: number[], at: number): { replacement: Replacement; place: number } | undefined {
    let best: { replacement: Replacement; place: number } | undefined
    for (const [index, replacement] of this.#replacements.entries()) {
      let place = places[index] ?? -1
      if (place >= 0 && place < at) places[index] = place = bytes.indexOf(replacement.from, at)
      if (place >= 0 && (best === undefined || place < best.place)) best = { replacement, place }
    }
    return best
  }

  /** Where, from `at` on, something begins that further bytes could complete; the end when nothing does. */
  #openEnd(bytes: Buffer, at: number): number {
    let open = bytes.length
    for (const { from } of this.#replacements) {
      for (let place = Math.max(at, bytes.length - from.length + 1); place < open; place++) {
        place = bytes.indexOf(from.subarray(0, 1), place)
        if (place < 0 || place >= open) break
        if (bytes.subarray(place).equals(from.subarray(0, bytes.length - place))) open = place
      }
    }
    return open
  }
}

export function replaceIn(bytes: Buffer, replacements: readonly Replacement[]): { bytes: Buffer; found: Set<string> } {
  const replacer = new Replacer(replacements)
  return { bytes: Buffer.concat([replacer.push(bytes), replacer.end()]), found: replacer.found }
}

export function replaceInText(text: string, replacements: readonly Replacement[]): string {
  return replaceIn(Buffer.from(text), replacements).bytes.toString()
}

export function replacing(replacements: readonly Replacement[]): Transform {
  const replacer = new Replacer(replacements)
  const somethingOf = (bytes: Buffer): Buffer | undefined => (bytes.length === 0 ? undefined : bytes)
  return new Transform({
    highWaterMark: UNREAD_BYTES,
    transform: (chunk: Buffer, _encoding, done) => done(null, somethingOf(replacer.push(chunk))),
    flush: (done) => done(null, somethingOf(replacer.end())),
  })
}

/** `found` is told the names of what is replaced for the first time, and waited for before that goes on; when it throws, nothing more does. */
export function replacingOnRecord(
  replacements: readonly Replacement[],
  found: (names: readonly string[]) => Promise<void>,
): Duplex {
  const replacer = new Replacer(replacements)
  let told = 0
  const tell = async (): Promise<void> => {
    const fresh = [...replacer.found].slice(told)
    told = replacer.found.size
    if (fresh.length > 0) await found(fresh)
  }
  return Duplex.from(async function* (source: AsyncIterable<Buffer>) {
    for await (const chunk of source) {
      const bytes = replacer.push(chunk)
      await tell()
      if (bytes.length > 0) yield bytes
    }
    const rest = replacer.end()
    await tell()
    if (rest.length > 0) yield rest
  })
}
