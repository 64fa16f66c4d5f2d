import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ReplyBlock, ReplyMessage } from './reply.ts'
import { serverSentEvent, streamEvents } from './stream.ts'

function message(...content: ReplyBlock[]): ReplyMessage {
  const usage = { input_tokens: 3, output_tokens: 9 }
  return {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'm',
    content,
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage,
  }
}

function textDeltas(text: string, chunks?: number): { text: string; pauseMs: number }[] {
  const events = [...streamEvents(message({ type: 'text', text }), { slowMs: 5, chunks })]
  return events.flatMap(({ event, pauseMs }) =>
    event.type === 'content_block_delta' ? [{ text: String(Object(event['delta']).text), pauseMs }] : [],
  )
}

test('the order and shape of the events', () => {
  const events = [
    ...streamEvents(message({ type: 'tool_use', id: 't', name: 'N', input: { a: 1 } }), {
      slowMs: 0,
      chunks: undefined,
    }),
  ]
  expect(events.map(({ event }) => event)).toEqual([
    {
      type: 'message_start',
      message: { ...message(), stop_reason: null, usage: { input_tokens: 3, output_tokens: 1 } },
    },
    { type: 'content_block_start', index: 0, content_block: { type: 'tool_use', id: 't', name: 'N', input: {} } },
    { type: 'ping' },
    { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: '{"a' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: '":1}' } },
    { type: 'content_block_stop', index: 0 },
    {
      type: 'message_delta',
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { input_tokens: 3, output_tokens: 9 },
    },
    { type: 'message_stop' },
  ])
})

test('by default a text comes by words, in at most 20 deltas; pauses lie between deltas', () => {
  expect(textDeltas('one two  three ')).toEqual([
    { text: 'one', pauseMs: 0 },
    { text: ' two', pauseMs: 5 },
    { text: '  three ', pauseMs: 5 },
  ])
  expect(textDeltas('w '.repeat(1000))).toHaveLength(20)
})

test('::chunks gives that many deltas', () => {
  expect(textDeltas('abcdefg', 3).map(({ text }) => text)).toEqual(['ab', 'cd', 'efg'])
})

test('the deltas of any text join to it, and no character is cut in two', () => {
  const chunks = fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined })
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), chunks, (text, count) => {
      const pieces = textDeltas(text, count).map((delta) => delta.text)
      expect(pieces.join('')).toBe(text)
      expect(pieces.every((piece) => piece.isWellFormed())).toBe(true)
      expect(pieces.length).toBeLessThanOrEqual(count ?? 20)
    }),
  )
})

test('an event on the wire', () => {
  expect(serverSentEvent({ type: 'ping' })).toBe('event: ping\ndata: {"type":"ping"}\n\n')
})
