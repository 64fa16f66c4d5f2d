import { expect, test } from 'vitest'
import { ModelRequests } from './model-requests.ts'

function record() {
  const seen: Record<string, unknown>[] = []
  return { seen, requests: new ModelRequests((request) => seen.push(request)) }
}

const start = (id: string) => ({
  type: 'message_start',
  message: { id, model: 'm', usage: { input_tokens: 3, output_tokens: 1, cache_read_input_tokens: 2 } },
})
const delta = {
  type: 'message_delta',
  delta: { stop_reason: 'tool_use' },
  usage: { output_tokens: 9, input_tokens: null },
}
const stop = { type: 'message_stop' }

test('a request ends with its usage and stop reason', () => {
  const { seen, requests } = record()
  for (const event of [start('a'), { type: 'content_block_start' }, null, delta, stop]) requests.see(event)
  expect(seen).toEqual([
    { type: 'model_request', phase: 'start', message_id: 'a', model: 'm', usage: null, stop_reason: null },
    {
      type: 'model_request',
      phase: 'end',
      message_id: 'a',
      model: 'm',
      usage: { input_tokens: 3, output_tokens: 9, cache_read_input_tokens: 2 },
      stop_reason: 'tool_use',
    },
  ])
})

test.each([
  ['by the next one', (requests: ModelRequests) => requests.see(start('b'))],
  ['by the end of the turn', (requests: ModelRequests) => requests.cut()],
  ['by an interrupt, which the CLI shows as a stop without a reason', (requests: ModelRequests) => requests.see(stop)],
])('a request that was cut %s ends without usage', (_name, cut) => {
  const { seen, requests } = record()
  requests.see(start('a'))
  cut(requests)
  expect(seen[1]).toMatchObject({ phase: 'end', message_id: 'a', usage: null, stop_reason: null })
})

test('every request ends once', () => {
  const { seen, requests } = record()
  for (const event of [start('a'), delta, stop, stop]) requests.see(event)
  requests.cut()
  expect(seen).toHaveLength(2)
})
