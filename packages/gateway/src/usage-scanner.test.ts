import { array, assert, integer, property } from 'fast-check'
import { expect, test } from 'vitest'
import { messageStart, shortAnswer, sse, textDelta } from './fixture/upstream-server.ts'
import { nothingSeen, readAnswer, type Seen, UsageScanner } from './usage-scanner.ts'

const answer = [
  messageStart('claude-x', {
    input_tokens: 11,
    cache_read_input_tokens: 7,
    cache_creation_input_tokens: 50,
    cache_creation: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 30 },
    output_tokens: 1,
  }),
  sse('ping'),
  textDelta('größer 😀 event: message_stop'),
  sse('message_delta', { delta: {}, usage: { output_tokens: 42, server_tool_use: { web_search_requests: 3 } } }),
  sse('message_stop'),
].join('')

const expected: Seen = {
  model: 'claude-x',
  input_tokens: 11,
  output_tokens: 42,
  cache_read_input_tokens: 7,
  cache_creation_5m_input_tokens: 20,
  cache_creation_1h_input_tokens: 30,
  web_search_requests: 3,
}

/** What may go on before the end is on disk. */
function scanAll(chunks: readonly Buffer[]): { scanner: UsageScanner; passed: Buffer } {
  const scanner = new UsageScanner()
  const passed: Buffer[] = []
  for (const chunk of chunks) {
    const end = scanner.scan(chunk)
    passed.push(chunk.subarray(0, end))
    if (end !== undefined) break
  }
  return { scanner, passed: Buffer.concat(passed) }
}

test('reads the same usage wherever the stream is split, and never passes the end', () => {
  const bytes = Buffer.from(answer)
  for (let at = 0; at <= bytes.length; at++) {
    const { scanner, passed } = scanAll([bytes.subarray(0, at), bytes.subarray(at)])
    expect(scanner.seen).toEqual(expected)
    expect(scanner.end).toBe('message_stop')
    expect(passed.toString()).not.toContain('event: message_stop\n')
    expect(passed.equals(bytes.subarray(0, passed.length))).toBe(true)
  }
})

test('reads the same usage in pieces of any size', () => {
  const bytes = Buffer.from(answer)
  assert(
    property(array(integer({ min: 1, max: 40 }), { minLength: 1 }), (sizes) => {
      const chunks: Buffer[] = []
      for (let from = 0, i = 0; from < bytes.length; i++) {
        const size = sizes[i % sizes.length] ?? 1
        chunks.push(bytes.subarray(from, from + size))
        from += size
      }
      expect(scanAll(chunks).scanner.seen).toEqual(expected)
    }),
  )
})

test('byte by byte, with CRLF, and with the name after the data', () => {
  const crlf = answer.replaceAll('\n', '\r\n')
  const swapped = answer.replaceAll(/(event: [^\n]*)\n(data: [^\n]*)\n/g, '$2\n$1\n')
  for (const text of [crlf, swapped]) {
    const chunks = [...Buffer.from(text)].map((byte) => Buffer.from([byte]))
    const { scanner } = scanAll(chunks)
    expect(scanner.seen).toEqual(expected)
    expect(scanner.end).toBe('message_stop')
  }
})

test('what has passed counts alike wherever it is split, to a token an event', () => {
  const bytes = Buffer.from(answer)
  const whole = scanAll([bytes]).scanner.passedTokens
  for (let at = 0; at <= bytes.length; at++) {
    const { passedTokens } = scanAll([bytes.subarray(0, at), bytes.subarray(at)]).scanner
    expect(Math.abs(passedTokens - whole)).toBeLessThanOrEqual(2)
  }
  const crlf = scanAll([...Buffer.from(answer.replaceAll('\n', '\r\n'))].map((byte) => Buffer.from([byte]))).scanner
  expect(Math.abs(crlf.passedTokens - whole)).toBeLessThanOrEqual(2)
})

test('content over the limit of a line counts whole', () => {
  const text = 'x'.repeat(9 * 1024 * 1024)
  const bytes = Buffer.from(textDelta(text) + textDelta('short'))
  const chunks = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) =>
    bytes.subarray(i * 65_536, (i + 1) * 65_536),
  )
  const { scanner } = scanAll(chunks)
  expect(scanner.unread).toBe(0)
  expect(scanner.passedTokens).toBeGreaterThanOrEqual(text.length / 3)
})

test('an error event is an end', () => {
  const { scanner, passed } = scanAll([
    Buffer.from(messageStart('m', { input_tokens: 3 }) + sse('error', { error: {} })),
  ])
  expect(scanner.end).toBe('error')
  expect(scanner.seen.input_tokens).toBe(3)
  expect(passed.toString()).not.toContain('error')
})

test('a line over the limit passes unread and the next ones are read', () => {
  const huge = sse('content_block_delta', { delta: { text: 'x'.repeat(9 * 1024 * 1024) } })
  const unreadable = sse('message_delta', { usage: { output_tokens: 9 }, padding: 'x'.repeat(9 * 1024 * 1024) })
  const bytes = Buffer.from(messageStart('m', { input_tokens: 3 }) + huge + unreadable + shortAnswer('m'))
  const chunks = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) =>
    bytes.subarray(i * 65_536, (i + 1) * 65_536),
  )
  const { scanner, passed } = scanAll(chunks)
  expect(scanner.unread).toBe(1)
  expect(scanner.seen).toMatchObject({ input_tokens: 10, output_tokens: 5 })
  expect(passed.length).toBe(bytes.length - sse('message_stop').length)
})

test('a total without a split was cached for five minutes', () => {
  const { scanner } = scanAll([
    Buffer.from(
      messageStart('m', {
        input_tokens: 1,
        cache_creation_input_tokens: 10,
        cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 10 },
      }) + sse('message_delta', { usage: { cache_creation_input_tokens: 25, output_tokens: 2 } }),
    ),
  ])
  expect(scanner.seen).toMatchObject({ cache_creation_1h_input_tokens: 10, cache_creation_5m_input_tokens: 15 })
})

test('reads an answer that is not streamed, and takes no nonsense for a count', () => {
  const seen = nothingSeen()
  const usage = { input_tokens: 4, output_tokens: -1, cache_read_input_tokens: 1e300, cache_creation: 'x' }
  expect(readAnswer(Buffer.from(JSON.stringify({ type: 'message', model: 'm', usage })), seen)).toBe(true)
  expect(seen).toEqual({ ...nothingSeen(), model: 'm', input_tokens: 4 })
  expect(readAnswer(Buffer.from('<html>'), seen)).toBe(false)
})
