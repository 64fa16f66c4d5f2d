/**
 * Previews of agent messages while they are being written: from the SDK's stream events to `event_start` and `event_delta`. Kept in memory
 * only. What a preview promises: it starts at most once per id, its indices count from 0 without gaps, and its texts are a prefix of the
 * stored event of that id. So after a loss of stream events nothing is previewed until the next model answer begins.
 */
import type { EventDelta, EventStart } from '@berth/protocol/api/event'
import { z } from 'zod'
import { previewKey } from '../domain/turn/turn-log.ts'

const streamEvent = z.looseObject({
  parent_tool_use_id: z.string().nullish(),
  event: z.discriminatedUnion('type', [
    z.looseObject({ type: z.literal('message_start'), message: z.looseObject({ id: z.string() }) }),
    z.looseObject({ type: z.literal('content_block_start'), content_block: z.looseObject({ type: z.string() }) }),
    z.looseObject({
      type: z.literal('content_block_delta'),
      delta: z.looseObject({ type: z.string(), text: z.string().optional() }),
    }),
  ]),
})

interface Answer {
  readonly messageId: string
  messages: number
  thoughts: number
  /** The message whose text is coming, and the index of its present block. */
  current: { readonly id: string; index: number } | null
}

export class Previews {
  /** Ids given to previews of the present answer, for the commit of the real events. */
  readonly ids: Record<string, string> = {}
  readonly #newEventId: () => string
  #answer: Answer | null = null

  constructor(newEventId: () => string) {
    this.#newEventId = newEventId
  }

  /** Stream events may have been lost. */
  interrupt(): void {
    this.#answer = null
  }

  /** The frames that this stream event gives to watchers; most give one or none. */
  read(message: Readonly<Record<string, unknown>>): (EventStart | EventDelta)[] {
    const parsed = streamEvent.safeParse(message)
    if (!parsed.success || typeof parsed.data.parent_tool_use_id === 'string') return []
    const { event } = parsed.data
    switch (event.type) {
      case 'message_start':
        for (const key of Object.keys(this.ids)) delete this.ids[key]
        this.#answer = { messageId: event.message.id, messages: 0, thoughts: 0, current: null }
        return []
      case 'content_block_start':
        return this.#startBlock(event.content_block.type)
      case 'content_block_delta':
        return event.delta.type === 'text_delta' ? this.#addText(event.delta.text ?? '') : []
      default:
        return event satisfies never
    }
  }

  #startBlock(type: string): EventStart[] {
    const answer = this.#answer
    if (answer === null) return []
    if (type === 'text') {
      if (answer.current !== null) {
        answer.current.index += 1
        return []
      }
      const id = this.#name(previewKey('agent.message', answer.messageId, answer.messages))
      answer.current = { id, index: 0 }
      return [{ type: 'event_start', event: { type: 'agent.message', id } }]
    }
    // Any other block ends the message: what follows is another event.
    if (answer.current !== null) {
      answer.current = null
      answer.messages += 1
    }
    if (type !== 'thinking' && type !== 'redacted_thinking') return []
    const id = this.#name(previewKey('agent.thinking', answer.messageId, answer.thoughts))
    answer.thoughts += 1
    return [{ type: 'event_start', event: { type: 'agent.thinking', id } }]
  }

  #addText(text: string): EventDelta[] {
    const current = this.#answer?.current
    if (current === undefined || current === null || text === '') return []
    const delta = { type: 'content_delta' as const, index: current.index, content: { type: 'text' as const, text } }
    return [{ type: 'event_delta', event_id: current.id, delta }]
  }

  #name(key: string): string {
    const id = this.#newEventId()
    this.ids[key] = id
    return id
  }
}
