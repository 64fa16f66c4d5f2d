import { expect, test } from 'vitest'
import { Feed, type Subscription } from '../engine/feed.ts'
import { eventStream, type ServerSentEvent } from './event-stream.ts'

async function* frames(subscription: Subscription): AsyncGenerator<ServerSentEvent> {
  for await (const item of subscription) {
    if (item.kind === 'event') yield { event: item.event.type, id: item.event.id, data: item.event }
  }
}

const idle = { id: 'sevt_1', type: 'session.status_running' as const, processed_at: '2026-01-01T00:00:00.000Z' }

test('a reader that goes away while nothing happens is let go at once', async () => {
  using feed = new Feed()
  const subscription = feed.subscribe('s', ['event'])
  const reader = eventStream(frames(subscription), subscription).body?.getReader()
  await reader?.read()
  const pending = reader?.read()
  await reader?.cancel()
  await pending
  expect(feed.hasSubscribers('s')).toBe(false)
})

test('an answer that nobody reads is let go when it is cancelled', async () => {
  using feed = new Feed()
  const subscription = feed.subscribe('s', ['event'])
  await eventStream(frames(subscription), subscription).body?.cancel()
  expect(feed.hasSubscribers('s')).toBe(false)
})

test('what was published before the end is written before the stream ends', async () => {
  using feed = new Feed()
  const subscription = feed.subscribe('s', ['event'])
  const response = eventStream(frames(subscription), subscription)
  feed.publish('s', [{ kind: 'event', event: idle }])
  feed.finish('s')
  expect(await response.text()).toBe(
    `: attached\n\nevent: session.status_running\nid: sevt_1\ndata: ${JSON.stringify(idle)}\n\n`,
  )
  expect(feed.hasSubscribers('s')).toBe(false)
})

test('a subscriber that does not keep up is let go, the others are not', () => {
  using feed = new Feed()
  const slow = feed.subscribe('s', ['event'])
  for (let n = 0; n < 10_000; n++) feed.publish('s', [{ kind: 'event', event: idle }])
  const fresh = feed.subscribe('s', ['event'])
  feed.publish('s', [{ kind: 'event', event: idle }])
  expect([slow.end, fresh.end]).toEqual(['overrun', 'open'])
})

test('what waits for one subscriber is a MiB for long, and 8 MiB at most behind a first event of any size', async () => {
  using feed = new Feed()
  const large = (length: number) => ({ kind: 'event' as const, event: { ...idle, id: 'x'.repeat(length) } })
  const [slow, other] = [feed.subscribe('s', ['event']), feed.subscribe('s', ['event'])]
  let queued = 0
  while (slow.end === 'open') {
    feed.publish('s', [large(10_000)])
    queued++
    // It takes each as it comes.
    await other[Symbol.asyncIterator]().next()
  }
  await slow.ended
  expect(queued).toBeGreaterThan(800)
  expect(queued).toBeLessThan(845)
  // A burst of large ones, to one that reads.
  feed.publish('s', [large(20_000_000), large(3_000_000), large(3_000_000), large(1)])
  expect(other.end).toBe('open')
  // It takes nothing from here on.
  await other.ended
  expect(other.end).toBe('overrun')
})
