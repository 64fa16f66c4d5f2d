import { noTokens } from '@berth/protocol/list-cost'
import { z } from 'zod'

/** A line longer than this is passed on but not read. One that nobody reads is never kept, however long it is. */
const MAX_LINE = 8 * 1024 * 1024

const LF = 10
const CR = 13
const SPACE = 32
const LETTER_C = 99
const LETTER_D = 100
const LETTER_E = 101
const LETTER_P = 112

/** What an answer has said of itself so far. Counts are totals, as the API reports them. */
export interface Seen {
  model: string | null
  input_tokens: number
  output_tokens: number
  cache_read_input_tokens: number
  cache_creation_5m_input_tokens: number
  cache_creation_1h_input_tokens: number
  web_search_requests: number
}

export function nothingSeen(): Seen {
  return { model: null, ...noTokens }
}

const count = z.int().nonnegative().nullish().catch(undefined)
const usage = z.looseObject({
  input_tokens: count,
  output_tokens: count,
  cache_read_input_tokens: count,
  cache_creation_input_tokens: count,
  cache_creation: z
    .looseObject({ ephemeral_5m_input_tokens: count, ephemeral_1h_input_tokens: count })
    .nullish()
    .catch(undefined),
  server_tool_use: z.looseObject({ web_search_requests: count }).nullish().catch(undefined),
})
const message = z.looseObject({ model: z.string().max(256).optional().catch(undefined), usage: usage.optional() })
const started = z.looseObject({ message })

/** What is charged for an answer that was cut: what was told, and at least what had passed. */
export function seenOfCut(seen: Seen, passed: { readonly promptBytes: number; readonly tokens: number }): Seen {
  // Nothing was told: the prompt was read all the same.
  const isUntold = seen.model === null && seen.input_tokens === 0
  const input_tokens = isUntold ? Math.ceil(passed.promptBytes / BYTES_PER_TOKEN) : seen.input_tokens
  return { ...seen, input_tokens, output_tokens: Math.max(seen.output_tokens, passed.tokens) }
}

/** Reads a whole answer that is not streamed. False: it is no message. */
export function readAnswer(body: Uint8Array, seen: Seen): boolean {
  return readInto(message, Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'), (answer) =>
    merge(seen, answer),
  )
}

function merge(seen: Seen, answer: z.infer<typeof message>): void {
  if (answer.model !== undefined) seen.model = answer.model
  const said = answer.usage
  if (said === undefined) return
  seen.input_tokens = said.input_tokens ?? seen.input_tokens
  seen.output_tokens = said.output_tokens ?? seen.output_tokens
  seen.cache_read_input_tokens = said.cache_read_input_tokens ?? seen.cache_read_input_tokens
  seen.web_search_requests = said.server_tool_use?.web_search_requests ?? seen.web_search_requests
  const oneHour = said.cache_creation?.ephemeral_1h_input_tokens ?? seen.cache_creation_1h_input_tokens
  const fiveMinutes = said.cache_creation?.ephemeral_5m_input_tokens ?? seen.cache_creation_5m_input_tokens
  // A delta repeats the total without the split; what the split does not explain was written for five minutes, the default.
  const total = said.cache_creation_input_tokens ?? oneHour + fiveMinutes
  seen.cache_creation_1h_input_tokens = Math.min(oneHour, total)
  seen.cache_creation_5m_input_tokens = Math.max(fiveMinutes, total - seen.cache_creation_1h_input_tokens)
}

function readInto<S extends z.ZodType>(schema: S, text: string, take: (value: z.infer<S>) => void): boolean {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return false
  }
  const result = schema.safeParse(parsed)
  if (result.success) take(result.data)
  return result.success
}

type Name = 'message_start' | 'message_delta' | 'message_stop' | 'error'
const names: readonly Name[] = ['message_start', 'message_delta', 'message_stop', 'error']

/**
 * Reads usage from server-sent events as they pass, chunk by chunk, without holding them back. Only four kinds of events are looked
 * into; for all others a line costs one search for its end.
 */
export class UsageScanner {
  readonly seen: Seen = nothingSeen()
  /** Set by the event that ends the answer. */
  end: 'message_stop' | 'error' | undefined
  /** Events that should have told usage and could not be read. */
  unread = 0

  /** About how many tokens the content that has passed is, rather too many than too few. */
  passedTokens = 0

  #event: Name | 'other' | undefined
  #data: string | undefined
  #partial: Buffer[] = []
  /** Of the line that is not yet whole: its bytes so far, the first of them and the last, and whether they are of no more use. */
  #partialBytes = 0
  #first = 0
  #last = 0
  #skipping = false

  /** True once message_start was read. */
  started = false

  /**
   * Takes the next bytes. Answers the offset in them from which the event that ends the answer is not yet complete: what is before may
   * go on, the rest must wait. Undefined: all may go on.
   */
  scan(chunk: Buffer): number | undefined {
    let from = 0
    while (this.end === undefined) {
      const next = this.#betweenEvents ? afterOrdinaryEvent(chunk, from) : undefined
      if (next !== undefined) {
        this.passedTokens += tokensOf(next - from)
        from = next
        continue
      }
      const lf = chunk.indexOf(LF, from)
      if (lf === -1) {
        this.#keep(chunk, from)
        return undefined
      }
      this.#endLine(chunk, from, lf)
      if (this.end !== undefined) return from
      from = lf + 1
    }
    return undefined
  }

  get #betweenEvents(): boolean {
    return this.#event === undefined && this.#data === undefined && this.#partialBytes === 0
  }

  #keep(chunk: Buffer, from: number): void {
    const [first, last] = [chunk[from], chunk.at(-1)]
    if (first === undefined || last === undefined) return
    if (this.#partialBytes === 0) {
      this.#first = first
      this.#skipping = this.#isCounted || (first !== LETTER_E && first !== LETTER_D && first !== CR)
    }
    this.#last = last
    this.#partialBytes += chunk.length - from
    if (this.#partialBytes > MAX_LINE) this.#skipping = true
    if (this.#skipping) this.#partial = []
    else this.#partial.push(chunk.subarray(from))
  }

  /** Is the line that is not yet whole the data of an event that is not looked into? */
  get #isCounted(): boolean {
    return this.#first === LETTER_D && this.#event === 'other'
  }

  #endLine(chunk: Buffer, from: number, lf: number): void {
    if (this.#partialBytes === 0) return this.#line(chunk, from, lf)
    const length = this.#partialBytes + lf - from
    const last = lf > from ? chunk[lf - 1] : this.#last
    if (this.#isCounted) this.#count(last === CR ? length - 1 : length)
    else if (length > MAX_LINE) this.#unreadable()
    else if (!this.#skipping) this.#line(Buffer.concat([...this.#partial, chunk.subarray(from, lf)]), 0, length)
    this.#partial = []
    this.#partialBytes = 0
    this.#skipping = false
  }

  #count(lineBytes: number): void {
    this.passedTokens += tokensOf(lineBytes + EVENT_NAME_BYTES)
  }

  #unreadable(): void {
    if (this.#event === 'message_start' || this.#event === 'message_delta') this.unread++
  }

  #line(bytes: Buffer, from: number, lf: number): void {
    const to = lf > from && bytes[lf - 1] === CR ? lf - 1 : lf
    if (to === from) {
      this.#event = undefined
      this.#data = undefined
      return
    }
    if (bytes[from] === LETTER_E) {
      const value = field(bytes.toString('latin1', from, to), 'event')
      if (value === undefined) return
      this.#event = names.find((name) => name === value) ?? 'other'
      if (this.#data !== undefined) this.#read(this.#event, this.#data)
      this.#data = undefined
      if (this.#event === 'message_stop' || this.#event === 'error') this.end = this.#event
    } else if (bytes[from] === LETTER_D && this.#event === 'other') {
      this.#count(to - from)
    } else if (bytes[from] === LETTER_D) {
      const value = field(bytes.toString('utf8', from, to), 'data')
      if (value === undefined) return
      // The name may follow its data; until it does, the data waits.
      if (this.#event === undefined) this.#data = value
      else this.#read(this.#event, value)
    }
  }

  #read(event: Name | 'other', data: string): void {
    if (event === 'message_start') {
      this.started = true
      if (!readInto(started, data, (value) => merge(this.seen, value.message))) this.unread++
    } else if (event === 'message_delta') {
      if (!readInto(message, data, (value) => merge(this.seen, { usage: value.usage }))) this.unread++
    }
  }
}

/** Of a content block's event: its name, and what is around the content. */
const EVENT_NAME_BYTES = 27
const EVENT_BYTES = 116
const BYTES_PER_TOKEN = 3
/** No event that is passed over has a longer one. So short that a search costs more than to look at each byte. */
const MAX_NAME_LINE = 32

function tokensOf(eventBytes: number): number {
  return Math.max(1, Math.ceil((eventBytes - EVENT_BYTES) / BYTES_PER_TOKEN))
}

/**
 * Where the event that begins at `from` ends, if it lies whole in the chunk, in the usual two lines, and its name begins like that of a
 * content block or a ping: nearly all of a stream, and not worth a closer look.
 */
function afterOrdinaryEvent(chunk: Buffer, from: number): number | undefined {
  if (chunk[from] !== LETTER_E || chunk[from + 6] !== SPACE) return undefined
  const initial = chunk[from + 7]
  if (initial !== LETTER_C && initial !== LETTER_P) return undefined
  let named = from + 8
  while (named < from + MAX_NAME_LINE && chunk[named] !== LF) named++
  if (chunk[named] !== LF || chunk[named + 1] !== LETTER_D) return undefined
  const told = chunk.indexOf(LF, named + 1)
  return told !== -1 && chunk[told + 1] === LF ? told + 2 : undefined
}

function field(line: string, name: string): string | undefined {
  if (!line.startsWith(`${name}:`)) return undefined
  return line.slice(line[name.length + 1] === ' ' ? name.length + 2 : name.length + 1)
}
