import { describe, expect } from 'vitest'
import { message } from '../harness/message.ts'
import { messagesOf } from '../harness/reading.ts'
import { framesUntil, readFrames } from '../harness/raw-stream.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

function openStream(berth: TestBerth, id: string, lastEventId?: string): Promise<Response> {
  return berth.fetch(`/v1/sessions/${id}/events/stream`, {
    headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId },
    signal: AbortSignal.timeout(30_000),
  })
}

const isIdle = ({ event }: { event?: string }): boolean => event === 'session.status_idle'

describe('the event stream', () => {
  story('names each frame by type and event, and is attached when it answers', async ({ berth }) => {
    const { id } = await berth.createSession()
    const stream = await openStream(berth, id)
    expect(stream.headers.get('content-type')).toMatch(/^text\/event-stream/)
    expect(stream.headers.get('request-id')).toMatch(/^req_/)
    await berth.send(id, ['Hi', '::text Hi.'])
    const frames = (await framesUntil(stream, isIdle)).filter(({ comment }) => comment === undefined)
    for (const { event, id: eventId, data } of frames) {
      expect(JSON.parse(data ?? '')).toMatchObject({ type: event, id: eventId })
    }
    expect(frames[0]?.event).toBe('user.message')
  })

  story('goes on after the last event that was seen, whichever that was', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    // The second is queued behind the first: it is shown twice.
    const both = [message(['One', '::text 1']), message(['Two', '::text 2'])]
    await berth.client.beta.sessions.events.send(id, { events: both })
    await events.turn()
    await berth.client.beta.sessions.archive(id)
    const listed = await berth.list(id)
    const inputs = new Set(listed.filter(({ type }) => type.startsWith('user.')).map((event) => event.id))
    for (const [index, { id: lastSeen }] of listed.entries()) {
      const replayed: string[] = []
      for await (const frame of readFrames(await openStream(berth, id, lastSeen))) if (frame.id) replayed.push(frame.id)
      const missing = listed.slice(index + 1).map((event) => event.id)
      // An input's id stands for two frames: who saw only the first is not to miss what came between.
      if (inputs.has(lastSeen)) expect(replayed).toEqual(expect.arrayContaining([lastSeen, ...missing]))
      else expect(replayed).toEqual(missing)
      const order = listed.map((event) => event.id).filter((one) => replayed.includes(one))
      expect(replayed).toEqual(order)
    }
  })

  story('joins what was missed with what comes', async ({ berth }) => {
    const { id } = await berth.createSession()
    const first = await berth.runTurn(id, ['One', '::text 1'])
    const seen = first.find(({ type }) => type === 'session.status_idle')
    if (seen?.type !== 'session.status_idle') throw new Error('not idle')
    await berth.runTurn(id, ['Two', '::text 2'])
    await berth.send(id, ['Three', '::delay 300', '::text 3'])
    const stream = await openStream(berth, id, seen.id)
    let idles = 0
    const frames = await framesUntil(stream, (frame) => isIdle(frame) && ++idles === 2)
    const ids = frames.flatMap((frame) => frame.id ?? [])
    const listed = (await berth.list(id)).map((event) => event.id)
    const rest = listed.slice(listed.indexOf(seen.id) + 1)
    expect(ids.filter((one, at) => ids.lastIndexOf(one) === at)).toEqual(rest)
  })

  story('refuses to go on after an event that is not there', async ({ berth }) => {
    const { id } = await berth.createSession()
    const other = await berth.createSession()
    await berth.runTurn(other.id, ['One', '::text 1'])
    const [foreign] = await berth.list(other.id)
    for (const last of ['sevt_none', foreign?.id ?? '']) {
      const answer = await openStream(berth, id, last)
      expect(answer.status).toBe(400)
      await answer.body?.cancel()
    }
    expect((await openStream(berth, 'sesn_none')).status).toBe(404)
  })

  story('of a terminated session ends at once, and a live one with the session', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using live = await berth.watch(id)
    await berth.client.beta.sessions.archive(id)
    await live.finished()
    expect(live.events.map(({ type }) => type)).toEqual([
      'session.thread_status_terminated',
      'session.status_terminated',
    ])
    await using late = await berth.watch(id)
    await late.finished()
    expect(late.events).toEqual([])
  })

  story('shows signs of life while nothing happens', async ({ berth }) => {
    const { id } = await berth.createSession()
    const stream = await openStream(berth, id)
    let comments = 0
    await framesUntil(stream, ({ comment }) => comment !== undefined && ++comments === 2)
  })

  story('opened before the first event and read late misses nothing', async ({ berth }) => {
    const { id } = await berth.createSession()
    const stream = await openStream(berth, id)
    await using watcher = await berth.watch(id)
    await berth.client.beta.sessions.events.send(id, {
      events: [message(['A', '::repeat 300 a']), message(['B', '::text b'])],
    })
    const turn = await watcher.turn()
    const frames = await framesUntil(stream, isIdle)
    expect(frames.filter(({ event }) => event !== undefined).map((frame) => JSON.parse(frame.data ?? ''))).toEqual(turn)
    expect(messagesOf(turn)).toHaveLength(2)
  })
})
