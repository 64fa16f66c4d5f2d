/** What stories read out of a list of events. */
import type { EventOf, EventType, StreamEvent } from './event-collector.ts'

export function ofType<Type extends EventType>(events: readonly StreamEvent[], type: Type): EventOf<Type>[] {
  return events.filter((event): event is EventOf<Type> => event.type === type)
}

/** The only one of its type. */
export function onlyOf<Type extends EventType>(events: readonly StreamEvent[], type: Type): EventOf<Type> {
  const [first, ...more] = ofType(events, type)
  if (first === undefined || more.length > 0) {
    throw new Error(`expected one ${type}, there are ${first === undefined ? 0 : more.length + 1}`)
  }
  return first
}

/** The text of each `agent.message`. */
export function messagesOf(events: readonly StreamEvent[]): string[] {
  return ofType(events, 'agent.message').map(({ content }) => textOf(content))
}

export function textOf(content: readonly { type: string; text?: string }[] | undefined): string {
  return (content ?? []).map((block) => block.text ?? '').join('')
}

/** The events as the list shows them in the end: each once, in its latest copy, where that copy came. Previews are not listed. */
export function asListed(events: readonly StreamEvent[]): StreamEvent[] {
  const lasting = events.filter((event) => event.type !== 'event_start' && event.type !== 'event_delta')
  return lasting.filter((event, index) => lasting.findLastIndex(({ id }) => id === event.id) === index)
}
