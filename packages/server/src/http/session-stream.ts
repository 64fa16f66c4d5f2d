import type { SessionEvent } from '@berth/protocol/api/event'
import { type FeedItem, MAX_QUEUED, type Subscription } from '../engine/feed.ts'
import type { ServerSentEvent } from './event-stream.ts'

export interface Streaming {
  readonly subscription: Subscription
  readonly replay: AsyncIterable<SessionEvent> | readonly SessionEvent[]
  readonly deltas: ReadonlySet<string>
  readonly isOver: boolean
}

/**
 * The replay, then what happens, until the session is over. What was published while the replay was read stands in it already: of an input
 * both copies, the one that waits and the one that has its place.
 */
export async function* streamFrames(given: Streaming): AsyncGenerator<ServerSentEvent> {
  const { subscription, replay, deltas } = given
  const replayed = new Set<string>()
  for await (const event of replay) {
    if (subscription.end === 'closed' || subscription.end === 'overrun') return
    remember(replayed, event.id)
    yield frameOf(event)
  }
  if (given.isOver) return
  const previewing = new Set<string>()
  for await (const item of subscription) {
    if (item.kind === 'event') {
      if (replayed.has(item.event.id)) continue
      // What has its place and is not in the replay came behind it, and so does everything from here on.
      if (item.event.processed_at !== null) replayed.clear()
    }
    const frame = toFrame(item, deltas, previewing)
    if (frame === undefined) continue
    yield frame
    if (frame.event === 'session.status_terminated' || frame.event === 'session.deleted') return
  }
}

/** What was published meanwhile is the end of the replay, and the queue bounds it. */
function remember(replayed: Set<string>, id: string): void {
  replayed.add(id)
  if (replayed.size <= MAX_QUEUED) return
  for (const oldest of replayed) {
    replayed.delete(oldest)
    return
  }
}

function frameOf(event: SessionEvent): ServerSentEvent {
  return { event: event.type, id: event.id, data: event }
}

/** Previews are shown from their start on only: a reader that came in between sees the event when it is whole. */
function toFrame(item: FeedItem, deltas: ReadonlySet<string>, previewing: Set<string>): ServerSentEvent | undefined {
  if (item.kind === 'event') {
    previewing.delete(item.event.id)
    return frameOf(item.event)
  }
  if (item.kind !== 'preview') return undefined
  const { frame } = item
  if (frame.type === 'event_start') {
    if (!deltas.has(frame.event.type)) return undefined
    previewing.add(frame.event.id)
    return { event: frame.type, data: frame }
  }
  return previewing.has(frame.event_id) ? { event: frame.type, data: frame } : undefined
}
