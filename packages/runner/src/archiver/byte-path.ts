import { isUtf8 } from 'node:buffer'

/**
 * Names and paths are bytes. In the helper they are strings with one character per byte ("latin1"): such compare and sort as the bytes do,
 * and are keys of maps.
 */
export type BytePath = string

/** As it stands in an entry: text, or base64 where the bytes are none. */
export type WirePath = string | { readonly b64: string }

// oxlint-disable-next-line no-control-regex -- the whole of ASCII is meant
const ASCII = /^[\x00-\x7f]*$/

/** As the system's calls take it. */
export function native(path: BytePath): string | Buffer {
  return ASCII.test(path) ? path : Buffer.from(path, 'latin1')
}

export function toWire(path: BytePath): WirePath {
  if (ASCII.test(path)) return path
  const bytes = Buffer.from(path, 'latin1')
  return isUtf8(bytes) ? bytes.toString('utf8') : { b64: bytes.toString('base64') }
}

/** Undefined for text that stands for no bytes. */
export function fromWire(path: WirePath): BytePath | undefined {
  if (typeof path !== 'string') return Buffer.from(path.b64, 'base64').toString('latin1')
  if (ASCII.test(path)) return path
  return path.isWellFormed() ? Buffer.from(path, 'utf8').toString('latin1') : undefined
}

/** For a message. */
export function shown(path: BytePath): string {
  const text = Buffer.from(path, 'latin1').toString('utf8')
  return JSON.stringify(text.length > 1_000 ? `${text.slice(0, 1_000)}…` : text).slice(1, -1)
}

/** Whether it is what an entry may say: no part empty, `.` or `..`, no NUL, no part longer than a name can be. Empty is the root. */
export function isBelow(path: BytePath): boolean {
  if (path === '') return true
  if (path.includes('\0')) return false
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && part.length <= 255)
}

/** Paths that are left alone with all that is in them, and the directories that lead to them. */
export class Exclusions {
  readonly #excluded: ReadonlySet<BytePath>
  readonly #above = new Set<BytePath>()

  constructor(paths: readonly string[]) {
    const excluded = paths.map((path) => Buffer.from(path.replace(/^\/+|\/+$/g, ''), 'utf8').toString('latin1'))
    this.#excluded = new Set(excluded)
    for (const path of excluded) {
      const parts = path.split('/')
      for (let count = 1; count < parts.length; count++) this.#above.add(parts.slice(0, count).join('/'))
    }
  }

  has(path: BytePath): boolean {
    return this.#excluded.size > 0 && this.#excluded.has(path)
  }

  /** Whether it or something above it is excluded. */
  covers(path: BytePath): boolean {
    if (this.#excluded.size === 0) return false
    for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
      if (this.#excluded.has(path.slice(0, end))) return true
    }
    return false
  }

  /** Whether something excluded may stand below it. */
  isAbove(path: BytePath): boolean {
    return path === '' ? this.#excluded.size > 0 : this.#above.has(path)
  }
}
