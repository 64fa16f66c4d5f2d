import { expect, test } from 'vitest'
import { clientEvent, initialEvent, sendEventsBody } from './client-event.ts'

const text = { type: 'text', text: 'hi' }
const image = (data: string, media_type = 'image/png') => ({
  type: 'image',
  source: { type: 'base64', media_type, data },
})

test.each([
  {
    type: 'user.message',
    content: [text, image('aGk='), { type: 'image', source: { type: 'url', url: 'https://x' } }],
  },
  {
    type: 'user.message',
    content: [{ type: 'document', source: { type: 'text', media_type: 'text/plain', data: '' } }],
  },
  { type: 'user.interrupt' },
  { type: 'user.interrupt', session_thread_id: null },
  { type: 'user.tool_confirmation', tool_use_id: 'sevt_1', result: 'allow', deny_message: null },
  { type: 'user.tool_confirmation', tool_use_id: 'sevt_1', result: 'deny', deny_message: 'no' },
  { type: 'user.custom_tool_result', custom_tool_use_id: 'sevt_1' },
  {
    type: 'user.custom_tool_result',
    custom_tool_use_id: 'sevt_1',
    content: [{ type: 'text', text: '' }],
    is_error: true,
  },
  { type: 'user.tool_result', tool_use_id: 'sevt_1', content: [] },
  { type: 'user.define_outcome', description: 'd', rubric: { type: 'text', content: 'r' }, max_iterations: 20 },
  { type: 'system.message', content: [text] },
])('taken: %o', (event) => {
  expect(clientEvent.parse(event)).toEqual(event)
})

test.each([
  ['no content', { type: 'user.message', content: [] }],
  ['an empty text', { type: 'user.message', content: [{ type: 'text', text: '' }] }],
  ['half a character', { type: 'user.message', content: [{ type: 'text', text: '\udc00' }] }],
  ['an unknown field', { type: 'user.message', content: [text], id: 'sevt_mine' }],
  ['an unknown field of a block', { type: 'user.message', content: [{ ...text, cache_control: {} }] }],
  ['base64 of odd length', { type: 'user.message', content: [image('aGk')] }],
  ['no base64', { type: 'user.message', content: [image('a b=')] }],
  ['padding within', { type: 'user.message', content: [image('aG==aGk=')] }],
  ['empty data', { type: 'user.message', content: [image('')] }],
  ['another kind of image', { type: 'user.message', content: [image('aGk=', 'image/tiff')] }],
  [
    'a message to an allowed call',
    { type: 'user.tool_confirmation', tool_use_id: 'x', result: 'allow', deny_message: 'm' },
  ],
  ['another verdict', { type: 'user.tool_confirmation', tool_use_id: 'x', result: 'maybe' }],
  ['no id', { type: 'user.custom_tool_result' }],
  ['a server event', { type: 'agent.message', content: [text] }],
  [
    'too many iterations',
    { type: 'user.define_outcome', description: 'd', rubric: { type: 'file', file_id: 'f' }, max_iterations: 21 },
  ],
])('refused: %s', (_, event) => {
  expect(clientEvent.safeParse(event).success).toBe(false)
})

test('a batch is not empty; a session starts with messages or an outcome alone', () => {
  expect(sendEventsBody.safeParse({ events: [] }).success).toBe(false)
  expect(initialEvent.safeParse({ type: 'user.interrupt' }).success).toBe(false)
  expect(initialEvent.safeParse({ type: 'user.message', content: [text] }).success).toBe(true)
})

test('base64 of the size of a whole body is checked in linear time', () => {
  const data = 'A'.repeat(30 * 1024 * 1024)
  expect(clientEvent.safeParse({ type: 'user.message', content: [image(data)] }).success).toBe(true)
  expect(clientEvent.safeParse({ type: 'user.message', content: [image(`${data.slice(4)}A*AA`)] }).success).toBe(false)
})
