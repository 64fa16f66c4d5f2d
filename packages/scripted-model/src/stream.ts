import { z } from 'zod'
import type { Step } from './parse-script.ts'
import type { ReplyBlock, ReplyMessage } from './reply.ts'

/** One server-sent event, and how long to wait before it. */
export interface PacedEvent {
  pauseMs: number
  event: { type: string } & Record<string, unknown>
}

type Pacing = Pick<Step, 'slowMs' | 'chunks'>

const DEFAULT_CHUNKS = 20
const textDelta = z.object({ type: z.literal('text_delta'), text: z.string() })

/** The message as the events of the Messages API's stream. */
export function* streamEvents(message: ReplyMessage, pacing: Pacing): Generator<PacedEvent> {
  const { content, stop_reason, stop_sequence, usage } = message
  const started = {
    ...message,
    content: [],
    stop_reason: null,
    usage: { ...usage, output_tokens: Math.min(1, usage.output_tokens) },
  }
  yield now({ type: 'message_start', message: started })
  for (const [index, block] of content.entries()) {
    yield now({ type: 'content_block_start', index, content_block: opening(block) })
    if (index === 0) yield now({ type: 'ping' })
    for (const { pauseMs, delta } of deltas(block, pacing)) {
      yield { pauseMs, event: { type: 'content_block_delta', index, delta } }
    }
    yield now({ type: 'content_block_stop', index })
  }
  yield now({ type: 'message_delta', delta: { stop_reason, stop_sequence }, usage })
  yield now({ type: 'message_stop' })
}

export function serverSentEvent(event: PacedEvent['event']): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
}

/** The event with `<time> ` before its text, if it is a delta of a text. */
export function stamped(event: PacedEvent['event'], time: bigint): PacedEvent['event'] {
  const delta = textDelta.safeParse(event['delta'])
  return delta.success ? { ...event, delta: { ...delta.data, text: `${time} ${delta.data.text}` } } : event
}

function now(event: PacedEvent['event']): PacedEvent {
  return { pauseMs: 0, event }
}

function opening(block: ReplyBlock): object {
  if (block.type === 'text') return { type: 'text', text: '' }
  if (block.type === 'thinking') return { type: 'thinking', thinking: '', signature: '' }
  return { ...block, input: {} }
}

function* deltas(block: ReplyBlock, { slowMs, chunks }: Pacing): Generator<{ pauseMs: number; delta: object }> {
  switch (block.type) {
    case 'text': {
      const pieces = chunks === undefined ? byWords(block.text, DEFAULT_CHUNKS) : split(block.text, chunks)
      for (const [index, text] of pieces.entries()) {
        yield { pauseMs: index === 0 ? 0 : slowMs, delta: { type: 'text_delta', text } }
      }
      return
    }
    case 'thinking':
      for (const thinking of byWords(block.thinking, DEFAULT_CHUNKS)) {
        yield { pauseMs: 0, delta: { type: 'thinking_delta', thinking } }
      }
      yield { pauseMs: 0, delta: { type: 'signature_delta', signature: block.signature } }
      return
    case 'tool_use':
      for (const partial_json of split(JSON.stringify(block.input), 2)) {
        yield { pauseMs: 0, delta: { type: 'input_json_delta', partial_json } }
      }
  }
}

/** Pieces of whole words that join to the text again, at most `most` of them. */
function byWords(text: string, most: number): string[] {
  const words = text.match(/\s*\S+(?:\s+$)?/g) ?? [text]
  const count = Math.min(most, words.length)
  return evenly(words.length, count).map(([from, to]) => words.slice(from, to).join(''))
}

/** At most `count` pieces of equal length that join to the text again; no character is cut in two. */
function split(text: string, count: number): string[] {
  const characters = Array.from(text)
  return evenly(characters.length, Math.min(count, characters.length)).map(([from, to]) =>
    characters.slice(from, to).join(''),
  )
}

function evenly(length: number, count: number): [from: number, to: number][] {
  return Array.from({ length: count }, (_, i) => [
    Math.floor((i * length) / count),
    Math.floor(((i + 1) * length) / count),
  ])
}
