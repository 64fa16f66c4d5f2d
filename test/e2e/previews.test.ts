import { accumulateManagedAgentsEvent } from '@anthropic-ai/sdk/lib/sessions/accumulate'
import { describe, expect } from 'vitest'
import type { StreamEvent } from '../harness/event-collector.ts'
import { tool } from '../harness/message.ts'
import { messagesOf, ofType, textOf } from '../harness/reading.ts'
import { story } from '../harness/story.ts'

const slowly = (text: string): string[] => ['::slow 20', '::chunks 10', `::text ${text}`]
const tenWords = 'one two three four five six seven eight nine ten'
const isPreview = (event: StreamEvent): boolean => event.type === 'event_start' || event.type === 'event_delta'

function started(events: readonly StreamEvent[]): string[] {
  return ofType(events, 'event_start').map(({ event }) => event.id)
}

describe('previews of a message', () => {
  story('add up to it with the official accumulator', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id, { event_deltas: ['agent.message', 'agent.thinking'] })
    await berth.send(id, [
      'Speak',
      '::thinking Let me see.',
      ...slowly(tenWords),
      '::text A second block.',
      tool('Bash', { command: 'true' }),
      '::next',
      ...slowly('And then.'),
    ])
    const turn = await events.turn()
    let accumulated: ReturnType<typeof accumulateManagedAgentsEvent>
    for (const event of turn) {
      if (event.type === 'agent.message') {
        expect(accumulated).toMatchObject({ id: event.id, content: event.content })
      }
      accumulated = accumulateManagedAgentsEvent(accumulated, event)
    }
    const messages = ofType(turn, 'agent.message')
    expect(messages.map(({ content }) => content.length)).toEqual([2, 1])
    const thoughts = ofType(turn, 'agent.thinking').map((event) => event.id)
    expect(started(turn)).toEqual([...thoughts, ...messages.map((event) => event.id)])
    expect(ofType(turn, 'event_delta').length).toBeGreaterThan(10)
    const listed = (await berth.list(id)).map(({ type }) => type)
    expect(listed).not.toContain('event_start')
    expect(listed).not.toContain('event_delta')
  })

  story('start once, count from 0 without gaps, and end with the event itself', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id, { event_deltas: ['agent.message'] })
    await berth.send(id, ['Speak', '::thinking Hm.', ...slowly(tenWords), '::text Two.', '::text Three.'])
    const turn = await events.turn()
    const ids = started(turn)
    expect(new Set(ids).size).toBe(ids.length)
    for (const messageId of ids) {
      const frames = turn.filter(
        (event) =>
          (event.type === 'event_start' && event.event.id === messageId) ||
          (event.type === 'event_delta' && event.event_id === messageId) ||
          ('id' in event && event.id === messageId),
      )
      expect(frames[0]?.type).toBe('event_start')
      expect(frames.at(-1)?.type).toBe('agent.message')
      const deltas = ofType(frames, 'event_delta')
      expect(deltas).toHaveLength(frames.length - 2)
      const indices = deltas.map(({ delta }) => delta.index ?? 0)
      expect(indices[0]).toBe(0)
      for (const [at, index] of indices.entries()) expect(index - (indices[at - 1] ?? 0)).toBeOneOf([0, 1])
      let said = ''
      const whole = messagesOf(frames)[0] ?? ''
      for (const { delta } of deltas) {
        said += delta.content.type === 'text' ? delta.content.text : ''
        expect(whole.startsWith(said)).toBe(true)
      }
      expect(said).toBe(whole)
    }
    expect(ofType(turn, 'event_start').every(({ event }) => event.type === 'agent.message')).toBe(true)
  })

  story('are for who asked for them, and two who asked see the same', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using one = await berth.watch(id, { event_deltas: ['agent.message'] })
    await using two = await berth.watch(id, { event_deltas: ['agent.message'] })
    await using thinking = await berth.watch(id, { event_deltas: ['agent.thinking'] })
    await using none = await berth.watch(id)
    await berth.send(id, ['Speak', '::thinking Hm.', ...slowly(tenWords)])
    const turn = await one.turn()
    expect(await two.turn()).toEqual(turn)
    expect(turn.filter(isPreview).length).toBeGreaterThan(5)
    const previews = (await thinking.turn()).filter(isPreview)
    expect(previews).toMatchObject([{ type: 'event_start', event: { type: 'agent.thinking' } }])
    expect((await none.turn()).filter(isPreview)).toEqual([])
  })

  story('of a request under way do not reach who comes in the middle; the next request’s do', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using early = await berth.watch(id, { event_deltas: ['agent.message'] })
    await berth.send(id, [
      'Speak',
      '::slow 100',
      '::chunks 20',
      '::repeat 20 first',
      tool('Bash', { command: 'true' }),
      '::next',
      ...slowly('second answer'),
    ])
    await early.first('event_delta')
    await using late = await berth.watch(id, { event_deltas: ['agent.message'] })
    const turn = await late.turn()
    const [first, second] = ofType(turn, 'agent.message')
    expect(textOf(first?.content)).toContain('first')
    expect(started(turn)).toEqual([second?.id])
    expect(ofType(turn, 'event_delta').every(({ event_id }) => event_id === second?.id)).toBe(true)
  })

  story('of unknown kinds are refused', async ({ berth }) => {
    const { id } = await berth.createSession()
    const answer = await berth.fetch(`/v1/sessions/${id}/events/stream?event_deltas[]=agent.tool_use`)
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({
      type: 'error',
      error: { type: 'invalid_request_error', message: expect.stringContaining('agent.tool_use') },
    })
    const plain = await berth.fetch(`/v1/sessions/${id}/events/stream?event_deltas=agent.nothing`)
    expect(plain.status).toBe(400)
  })
})
