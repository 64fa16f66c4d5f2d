/** A session's events as the official client gets them, with the time at which each was seen. */
import type { Anthropic } from '@anthropic-ai/sdk'

type Event = Anthropic.Beta.Sessions.BetaManagedAgentsStreamSessionEvents

export interface Turn {
  /** By the clock of `performance.now()`. */
  readonly firstText: number
  readonly idle: number
  /** Every text delta with the time it came. */
  readonly deltas: readonly { readonly at: number; readonly text: string }[]
}

/** Watches one session through one stream, turn by turn. */
export class Watcher implements Disposable {
  readonly #stream: AsyncIterable<Event> & { controller: AbortController }
  readonly #events: AsyncIterator<Event>

  private constructor(stream: AsyncIterable<Event> & { controller: AbortController }) {
    this.#stream = stream
    this.#events = stream[Symbol.asyncIterator]()
  }

  static async open(client: Anthropic, sessionId: string): Promise<Watcher> {
    return new Watcher(await client.beta.sessions.events.stream(sessionId, { event_deltas: ['agent.message'] }))
  }

  /** Reads to the end of the turn. Throws when the turn fails. */
  async turn(): Promise<Turn> {
    const deltas: { at: number; text: string }[] = []
    let firstText: number | undefined
    for (;;) {
      const next = await this.#events.next()
      const at = performance.now()
      if (next.done === true) throw new Error('the stream ended inside a turn')
      const event = next.value
      if (event.type === 'event_delta' && event.delta.content.type === 'text') {
        firstText ??= at
        deltas.push({ at, text: event.delta.content.text })
      } else if (event.type === 'agent.message') firstText ??= at
      else if (event.type === 'session.error') throw new Error(JSON.stringify(event.error))
      else if (event.type === 'session.status_idle') return { firstText: firstText ?? at, idle: at, deltas }
    }
  }

  [Symbol.dispose](): void {
    this.#stream.controller.abort()
  }
}
