/**
 * Live events: what is committed, and previews of what will be, to whoever watches a session. A subscriber that does not keep up is let go
 * (it can come back and list what it missed); nobody waits for it.
 */
import type { EventDelta, EventStart, SessionEvent } from '@berth/protocol/api/event'

export interface SdkMessageItem {
  readonly kind: 'sdk_message'
  readonly seq: number
  readonly message: Readonly<Record<string, unknown>>
}

export type FeedItem =
  | { readonly kind: 'event'; readonly event: SessionEvent }
  | { readonly kind: 'preview'; readonly frame: EventStart | EventDelta }
  | SdkMessageItem
  /** A partial message of the SDK, as it came; not stored. */
  | { readonly kind: 'sdk_partial'; readonly message: Readonly<Record<string, unknown>> }

export interface Subscription extends AsyncIterable<FeedItem>, Disposable {
  /** How it ended: not yet, by its owner, because it was too slow, or because the feed has no more. */
  readonly end: 'open' | 'closed' | 'overrun' | 'finished'
}

const MAX_QUEUED = 4_096

export class Feed implements Disposable {
  readonly #subscribers = new Map<string, Set<Subscriber>>()

  /** Attached when the call returns: everything of these kinds that is published from now on is seen. */
  subscribe(sessionId: string, kinds: readonly FeedItem['kind'][]): Subscription {
    const subscribers = this.#subscribers.get(sessionId) ?? new Set()
    this.#subscribers.set(sessionId, subscribers)
    const subscriber = new Subscriber(kinds, () => {
      subscribers.delete(subscriber)
      if (subscribers.size === 0 && this.#subscribers.get(sessionId) === subscribers)
        this.#subscribers.delete(sessionId)
    })
    subscribers.add(subscriber)
    return subscriber
  }

  hasSubscribers(sessionId: string): boolean {
    return this.#subscribers.has(sessionId)
  }

  publish(sessionId: string, items: readonly FeedItem[]): void {
    for (const subscriber of this.#subscribers.get(sessionId) ?? []) for (const item of items) subscriber.push(item)
  }

  /** Nothing more will come for this session; what is queued is still delivered. */
  finish(sessionId: string): void {
    for (const subscriber of this.#subscribers.get(sessionId) ?? []) subscriber.stop('finished')
  }

  [Symbol.dispose](): void {
    for (const sessionId of this.#subscribers.keys()) this.finish(sessionId)
  }
}

class Subscriber implements Subscription {
  end: Subscription['end'] = 'open'
  #queue: FeedItem[] = []
  #wake: (() => void) | undefined
  readonly #kinds: ReadonlySet<FeedItem['kind']>
  readonly #leave: () => void

  constructor(kinds: readonly FeedItem['kind'][], leave: () => void) {
    this.#kinds = new Set(kinds)
    this.#leave = leave
  }

  push(item: FeedItem): void {
    if (this.end !== 'open' || !this.#kinds.has(item.kind)) return
    if (this.#queue.length >= MAX_QUEUED) {
      this.#queue = []
      this.stop('overrun')
      return
    }
    this.#queue.push(item)
    this.#wake?.()
  }

  stop(end: Exclude<Subscription['end'], 'open'>): void {
    if (this.end === 'open') this.end = end
    this.#leave()
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncIterator<FeedItem> {
    for (;;) {
      const batch = this.#queue
      this.#queue = []
      yield* batch
      if (this.#queue.length > 0) continue
      if (this.end !== 'open') return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }

  [Symbol.dispose](): void {
    this.#queue = []
    this.stop('closed')
  }
}
