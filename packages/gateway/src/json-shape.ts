const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

export interface JsonShape {
  /** Lists, objects and their members: what parsing costs memory for. At most. */
  readonly nodes: number
  readonly depth: number
}

/**
 * Measures JSON without parsing it: 32 MiB of text are a few objects with long strings or gigabytes of small ones. Stops as soon as it
 * has counted more than `limit` nodes. Right for valid JSON; for anything else the parser has the last word.
 */
export function measureJson(bytes: Buffer, limit: number): JsonShape {
  let nodes = 1
  let depth = 0
  let deepest = 0
  for (let at = 0; at < bytes.length && nodes <= limit; at++) {
    switch (bytes.readUInt8(at)) {
      case QUOTE:
        at = endOfString(bytes, at)
        break
      case OPEN_LIST:
      case OPEN_OBJECT:
        nodes++
        deepest = Math.max(deepest, ++depth)
        break
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        depth--
        break
      case COMMA:
        nodes++
    }
  }
  return { nodes, depth: deepest }
}

/** Offset of the quote that closes the string opened at `from`. */
function endOfString(bytes: Buffer, from: number): number {
  let at = from + 1
  while (at < bytes.length && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1
  return at
}
