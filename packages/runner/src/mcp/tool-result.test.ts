import { expect, test } from 'vitest'
import { vetResult } from './tool-result.ts'

const text = (said: unknown) =>
  vetResult(said).content.map((block) => (block.type === 'text' ? block.text : block.type))

test('texts and images come through, anything else is told of', () => {
  const png = {
    type: 'image',
    mimeType: 'image/png',
    data: Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0]).toString('base64'),
  }
  const content = [
    { type: 'text', text: 'one', annotations: { audience: ['user'] }, _meta: { a: 1 } },
    png,
    { ...png, mimeType: 'image/svg+xml' },
    { ...png, data: `${png.data}!` },
    { type: 'resource', resource: { uri: 'file:///a', text: 'inside' } },
    { type: 'resource', resource: { uri: 'file:///a', blob: 'AAAA' } },
    { type: 'resource_link', uri: 'file:///etc/passwd\u001b[2J', name: 'p' },
    { type: 'audio', data: 'AAAA', mimeType: 'audio/wav' },
    { type: 'text', text: 7 },
    null,
  ]
  expect(vetResult({ content }).content[1]).toEqual(png)
  expect(text({ content })).toEqual([
    'one',
    'image',
    '[an image that the model does not take was left out]',
    '[an image that the model does not take was left out]',
    '[resource file:///a]\ninside',
    '[a resource that is no text was left out: file:///a]',
    '[a link to a resource: p file:///etc/passwd [2J]',
    '[audio was left out]',
    '[a part of an unknown kind was left out]',
    '[a part of an unknown kind was left out]',
  ])
  expect(vetResult({ content }).content[0]).toEqual({ type: 'text', text: 'one' })
})

test('an error stays one, and structure stands in for what is missing', () => {
  expect(vetResult({ content: [], isError: true })).toEqual({ content: [], isError: true })
  expect(text({ structuredContent: { a: 1 } })).toEqual(['{"a":1}'])
  expect(text({ content: [{ type: 'text', text: 'x' }], structuredContent: { a: 1 } })).toEqual(['x'])
})

test.each<[string, unknown]>([
  ['nothing', undefined],
  ['a text', 'done'],
  ['content that is no list', { content: 'done' }],
  ['too many parts', { content: Array.from({ length: 300 }, () => ({ type: 'text', text: '' })) }],
  ['too much text', { content: Array.from({ length: 3 }, () => ({ type: 'text', text: 'x'.repeat(500_000) })) }],
])('%s is an error that says so', (_, said) => {
  const { content, isError } = vetResult(said)
  expect(isError).toBe(true)
  expect(content).toHaveLength(1)
})

test('half a character is not passed on', () => {
  expect(text({ content: [{ type: 'text', text: 'a\ud800b' }] })).toEqual(['a\ufffdb'])
})
