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
  /** Resolves when it has ended. */
  readonly ended: Promise<void>
}

/** Items that wait for one subscriber. */
export const MAX_QUEUED = 4_096
/** Their size as JSON, in characters, behind the first, which may be of any. */
const MAX_QUEUED_LENGTH = 8 * 1024 * 1024
/** What may wait for one that takes nothing: more comes in one burst, sometimes, to one that reads. */
const MAX_STALLED_LENGTH = 1024 * 1024
const STALLED_MS = 1_000

interface Sized {
  readonly item: FeedItem
  readonly length: number
}

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
    const subscribers = this.#subscribers.get(sessionId)
    if (subscribers === undefined) return
    const sized = items.map((item) => ({ item, length: JSON.stringify(item).length }))
    for (const subscriber of subscribers) for (const each of sized) subscriber.push(each)
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
  readonly ended: Promise<void>
  #queue: Sized[] = []
  #length = 0
  #taken = 0
  #stalling: NodeJS.Timeout | undefined
  #wake: (() => void) | undefined
  readonly #kinds: ReadonlySet<FeedItem['kind']>
  readonly #leave: () => void

  constructor(kinds: readonly FeedItem['kind'][], leave: () => void) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#kinds = new Set(kinds)
    this.ended = promise
    this.#leave = () => {
      leave()
      resolve()
    }
  }

  push(sized: Sized): void {
    if (this.end !== 'open' || !this.#kinds.has(sized.item.kind)) return
    const [first] = this.#queue
    const behind = first === undefined ? 0 : this.#length - first.length + sized.length
    if (this.#queue.length >= MAX_QUEUED || behind > MAX_QUEUED_LENGTH) return this.#overrun()
    this.#queue.push(sized)
    this.#length += sized.length
    if (behind > MAX_STALLED_LENGTH) this.#watch()
    this.#wake?.()
  }

  stop(end: Exclude<Subscription['end'], 'open'>): void {
    if (this.end === 'open') this.end = end
    clearTimeout(this.#stalling)
    this.#leave()
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncIterator<FeedItem> {
    for (;;) {
      for (let next = this.#take(); next !== undefined; next = this.#take()) yield next
      if (this.end !== 'open') return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }

  [Symbol.dispose](): void {
    this.#empty()
    this.stop('closed')
  }

  #take(): FeedItem | undefined {
    const next = this.#queue.shift()
    this.#taken++
    this.#length -= next?.length ?? 0
    return next?.item
  }

  /** Lets one go that takes nothing for a while though much waits for it. */
  #watch(): void {
    if (this.#stalling !== undefined) return
    const taken = this.#taken
    this.#stalling = setTimeout(() => {
      this.#stalling = undefined
      if (this.#length - (this.#queue[0]?.length ?? 0) <= MAX_STALLED_LENGTH) return
      if (this.#taken === taken) this.#overrun()
      else this.#watch()
    }, STALLED_MS)
  }

  #overrun(): void {
    this.#empty()
    this.stop('overrun')
  }

  #empty(): void {
    this.#queue = []
    this.#length = 0
  }
}
