import { Transform } from 'node:stream'

/** What is looked for, not empty, and what stands in its place. */
export type Replacement = readonly [from: Buffer, to: Buffer]

/**
 * Replaces every occurrence, also where it lies across chunks; of several that overlap the one that begins first, of those the longest.
 * Holds back no more than what may be the beginning of one, so that a stream's events go on as they come.
 */
export function replaceStream(pairs: readonly Replacement[]): Transform {
  let held: Buffer = Buffer.alloc(0)
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const { ready, rest } = replace(held.length === 0 ? chunk : Buffer.concat([held, chunk]), pairs, false)
      // A copy, so that a few bytes do not keep a whole chunk in memory.
      held = Buffer.from(rest)
      done(null, ready)
    },
    flush(done) {
      done(null, replace(held, pairs, true).ready)
    },
  })
}

/** The same for a whole text. */
export function replaceAll(text: string, pairs: readonly Replacement[]): string {
  return replace(Buffer.from(text), pairs, true).ready.toString()
}

/** The same for the beginning of something; without what may be the beginning of an occurrence at its end. */
export function replaceInBeginning(bytes: Buffer, pairs: readonly Replacement[]): Buffer {
  return replace(bytes, pairs, false).ready
}

function replace(bytes: Buffer, pairs: readonly Replacement[], isLast: boolean): { ready: Buffer; rest: Buffer } {
  const parts: Buffer[] = []
  const next = pairs.map(([from]) => bytes.indexOf(from))
  let at = 0
  let end = isLast ? bytes.length : beginningAt(bytes, pairs, 0)
  for (;;) {
    const found = firstOf(next, pairs)
    const start = found === undefined ? -1 : (next[found] ?? -1)
    const [from, to] = pairs[found ?? -1] ?? []
    if (from === undefined || to === undefined || start >= end) break
    parts.push(bytes.subarray(at, start), to)
    at = start + from.length
    if (at > end) end = beginningAt(bytes, pairs, at)
    for (const [index, [each]] of pairs.entries()) {
      const known = next[index] ?? -1
      if (known !== -1 && known < at) next[index] = bytes.indexOf(each, at)
    }
  }
  parts.push(bytes.subarray(at, end))
  return { ready: Buffer.concat(parts), rest: bytes.subarray(end) }
}

/** Index of the pair whose occurrence comes first. */
function firstOf(next: readonly number[], pairs: readonly Replacement[]): number | undefined {
  let found: number | undefined
  for (const [index, start] of next.entries()) {
    if (start === -1) continue
    const other = found === undefined ? Infinity : (next[found] ?? Infinity)
    const isLonger = (pairs[index]?.[0].length ?? 0) > (pairs[found ?? -1]?.[0].length ?? 0)
    if (start < other || (start === other && isLonger)) found = index
  }
  return found
}

/** Where, from `at` on, the bytes end with what may be the beginning of an occurrence; their length, where they do not. */
function beginningAt(bytes: Buffer, pairs: readonly Replacement[], at: number): number {
  let first = bytes.length
  for (const [from] of pairs) {
    const initial = from[0] ?? 0
    const earliest = Math.max(at, bytes.length - from.length + 1)
    for (let start = bytes.indexOf(initial, earliest); start !== -1 && start < first;) {
      if (bytes.subarray(start).equals(from.subarray(0, bytes.length - start))) first = start
      else start = bytes.indexOf(initial, start + 1)
    }
  }
  return first
}
