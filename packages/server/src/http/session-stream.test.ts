import type { SessionEvent } from '@berth/protocol/api/event'
import { expect, test } from 'vitest'
import { Feed } from '../engine/feed.ts'
import { streamFrames } from './session-stream.ts'

const at = '2030-01-01T00:00:00.000Z'
const running: SessionEvent = { id: 'sevt_2', type: 'session.status_running', processed_at: at }
const waiting: SessionEvent = { id: 'sevt_1', type: 'user.message', content: [], processed_at: null }
const placed: SessionEvent = { ...waiting, processed_at: at }

test('an input that comes and is taken while the replay is read is seen once, in its place', async () => {
  using feed = new Feed()
  const subscription = feed.subscribe('s', ['event'])
  for (const event of [waiting, placed, running]) feed.publish('s', [{ kind: 'event', event }])
  feed.finish('s')
  const seen: unknown[] = []
  for await (const { data } of streamFrames({ subscription, replay: [placed], deltas: new Set(), isOver: false })) {
    seen.push(data)
  }
  expect(seen).toEqual([placed, running])
})
