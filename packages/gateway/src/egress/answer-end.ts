/** Longer than a line may be that the parser takes. */
const MAX_LINE = 32 * 1024
const STATUS = /^HTTP\/1\.1 (?<status>[2-5]\d\d)(?: .*)?$/
const CHUNK_SIZE = /^[0-9a-f]{1,8}$/i
const LENGTH = /^\d{1,15}$/
const BODILESS: ReadonlySet<number> = new Set([204, 304])

type Place = 'status' | 'headers' | 'chunk-size' | 'chunk-end' | 'last' | 'end' | 'unclear'

/**
 * Finds where an answer ends, beside the parser that reads it: what a host says behind that end must not become the answer to the next
 * request. It takes the plain forms alone: one length or chunks, without hints, extensions and trailers. Of any other answer it knows no end.
 */
export class AnswerEnd {
  readonly #hasNoBody: boolean
  #place: Place = 'status'
  #line = ''
  /** Bytes of the body that come before the next line. */
  #body = 0
  #status = 0
  #length: number | undefined
  #isChunked = false

  constructor(method: string) {
    this.#hasNoBody = method === 'HEAD'
  }

  /** Is all of the answer there, and nothing behind it? */
  get isReached(): boolean {
    return this.#place === 'end' && this.#body === 0 && this.#line === ''
  }

  take(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length && this.#place !== 'unclear') {
      const body = Math.min(this.#body, chunk.length - at)
      this.#body -= body
      at += body
      if (at < chunk.length) at = this.#takeLine(chunk, at)
    }
  }

  #takeLine(chunk: Buffer, from: number): number {
    const feed = chunk.indexOf(10, from)
    const until = feed < 0 ? chunk.length : feed + 1
    this.#line += chunk.toString('latin1', from, until)
    if (this.#line.length > MAX_LINE) this.#place = 'unclear'
    else if (feed >= 0) {
      const line = this.#line
      this.#line = ''
      this.#place = line.endsWith('\r\n') ? this.#after(line.slice(0, -2)) : 'unclear'
    }
    return until
  }

  #after(line: string): Place {
    switch (this.#place) {
      case 'status':
        this.#status = Number(STATUS.exec(line)?.groups?.status ?? 0)
        return this.#status === 0 ? 'unclear' : 'headers'
      case 'headers':
        return line === '' ? this.#afterHead() : this.#readHeader(line)
      case 'chunk-size':
        return CHUNK_SIZE.test(line) ? this.#beginChunk(Number.parseInt(line, 16)) : 'unclear'
      case 'chunk-end':
        return line === '' ? 'chunk-size' : 'unclear'
      case 'last':
        return line === '' ? 'end' : 'unclear'
      case 'end':
      case 'unclear':
    }
    return 'unclear'
  }

  #beginChunk(bytes: number): Place {
    this.#body = bytes
    return bytes === 0 ? 'last' : 'chunk-end'
  }

  #readHeader(line: string): Place {
    const colon = line.indexOf(':')
    const value = line.slice(colon + 1).trim()
    switch (line.slice(0, colon).toLowerCase()) {
      case 'content-length':
        if (this.#length !== undefined || !LENGTH.test(value)) return 'unclear'
        this.#length = Number(value)
        return 'headers'
      case 'transfer-encoding':
        if (this.#isChunked || value.toLowerCase() !== 'chunked') return 'unclear'
        this.#isChunked = true
        return 'headers'
      case 'connection':
        return value.toLowerCase() === 'keep-alive' ? 'headers' : 'unclear'
      default:
        return 'headers'
    }
  }

  #afterHead(): Place {
    if (this.#isChunked && this.#length !== undefined) return 'unclear'
    if (this.#hasNoBody || BODILESS.has(this.#status)) return 'end'
    if (this.#isChunked) return 'chunk-size'
    if (this.#length === undefined) return 'unclear'
    this.#body = this.#length
    return 'end'
  }
}
