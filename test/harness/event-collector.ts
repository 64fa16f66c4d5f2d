/** Reads a session's event stream with the official client and keeps all of it, so that a story can wait for what it needs. */
import type Anthropic from '@anthropic-ai/sdk'
import type {
  BetaManagedAgentsStreamSessionEvents,
  EventStreamParams,
} from '@anthropic-ai/sdk/resources/beta/sessions/events'

export type StreamEvent = BetaManagedAgentsStreamSessionEvents
export type EventType = StreamEvent['type']
export type EventOf<Type extends EventType> = Extract<StreamEvent, { type: Type }>

export interface Wanted<Type extends EventType> {
  /** Only events from this position of `events` on; default 0. */
  readonly from?: number
  readonly where?: (event: EventOf<Type>) => boolean
  /** Default: 60 s. */
  readonly signal?: AbortSignal
}

export class EventCollector implements AsyncDisposable {
  /** Everything that came, in order, both copies of an echoed input included. */
  readonly events: StreamEvent[] = []
  /** How the stream ended; undefined while it is open. */
  end: 'finished' | Error | undefined
  #changed = Promise.withResolvers<void>()
  readonly #abort: () => void
  readonly #reading: Promise<void>

  /** Attached when it resolves: nothing that happens afterwards is missed. */
  static async open(client: Anthropic, sessionId: string, params: EventStreamParams = {}): Promise<EventCollector> {
    const stream = await client.beta.sessions.events.stream(sessionId, params)
    return new EventCollector(stream, () => stream.controller.abort())
  }

  private constructor(stream: AsyncIterable<StreamEvent>, abort: () => void) {
    this.#abort = abort
    this.#reading = this.#read(stream)
  }

  /** Those of one type so far. */
  all<Type extends EventType>(type: Type, { from = 0, where }: Omit<Wanted<Type>, 'signal'> = {}): EventOf<Type>[] {
    const isOfType = (event: StreamEvent): event is EventOf<Type> => event.type === type
    return this.events
      .slice(from)
      .filter((event) => isOfType(event) && (where?.(event) ?? true))
      .filter(isOfType)
  }

  /** The first event of this type; waits for it. */
  async first<Type extends EventType>(type: Type, { signal, ...wanted }: Wanted<Type> = {}): Promise<EventOf<Type>> {
    return this.until(`there is a ${type}`, () => this.all(type, wanted)[0], signal)
  }

  /** All events from position `from` up to the first `session.status_idle` after it; waits for it. */
  async turn(from = 0, signal?: AbortSignal): Promise<StreamEvent[]> {
    return this.until(
      'the session is idle',
      () => {
        const at = this.events.findIndex((event, index) => index >= from && event.type === 'session.status_idle')
        return at < 0 ? undefined : this.events.slice(from, at + 1)
      },
      signal,
    )
  }

  /** Looks again at each new event until `find` answers something. Throws, with what came, when the time or the stream is over first. */
  async until<Value>(
    what: string,
    find: () => Value | undefined,
    signal: AbortSignal = AbortSignal.timeout(60_000),
  ): Promise<Value> {
    const aborted = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => aborted.resolve(), { once: true })
    for (;;) {
      const value = find()
      if (value !== undefined) return value
      if (signal.aborted || this.end !== undefined) throw this.#missing(what)
      await Promise.race([this.#changed.promise, aborted.promise])
    }
  }

  /** Resolves when the server has ended the stream. */
  async finished(signal?: AbortSignal): Promise<void> {
    const end = await this.until('the stream ends', () => this.end, signal)
    if (end instanceof Error) throw end
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort()
    await this.#reading
  }

  async #read(stream: AsyncIterable<StreamEvent>): Promise<void> {
    try {
      for await (const event of stream) {
        this.events.push(event)
        this.#notify()
      }
      this.end = 'finished'
    } catch (error) {
      this.end = error instanceof Error ? error : new Error(String(error))
    }
    this.#notify()
  }

  #notify(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  #missing(what: string): Error {
    const came = this.events
      .map((event) => (event.type === 'session.error' ? `session.error (${event.error.message})` : event.type))
      .join(', ')
    const ended = this.end === undefined ? '' : `; the stream has ended (${String(this.end)})`
    return new Error(`gave up waiting until ${what}${ended}; what came: ${came || 'nothing'}`)
  }
}
