import { expect, test } from 'vitest'
import { ToolPins } from './tool-pins.ts'

const tool = (name: string, more: object = {}) => ({ name, description: 'd', inputSchema: { type: 'object' }, ...more })
const list = (...tools: unknown[]) => ({ tools, isCut: false })
const names = (taken: ReturnType<ToolPins['take']>) => taken.tools.map(({ name }) => name)

test('a tool that changes is withheld for good, and told once', () => {
  const pins = new ToolPins('mcp__s__', [])
  expect(pins.take(list(tool('a'), tool('b'))).complaints).toEqual([])
  const changed = pins.take(list(tool('a', { description: 'e' }), tool('b'), tool('c')))
  expect(names(changed)).toEqual(['b', 'c'])
  expect(changed.complaints).toEqual(['its tool a has changed, and is withheld'])
  const back = pins.take(list(tool('a'), tool('b')))
  expect(names(back)).toEqual(['b'])
  expect(back.complaints).toEqual([])
  expect([pins.isWithheld('a'), pins.isWithheld('b')]).toEqual([true, false])
})

test('a tool that is away for a while is bound by what was seen of it', () => {
  const pins = new ToolPins('mcp__s__', [])
  pins.take(list(tool('a')))
  pins.take(list())
  expect(names(pins.take(list(tool('a'))))).toEqual(['a'])
  expect(names(pins.take(list(tool('a', { annotations: { readOnlyHint: true } }))))).toEqual([])
})

test('what means the same is the same, and what the model does not see is not looked at', () => {
  const pins = new ToolPins('mcp__s__', [])
  const properties = { x: { type: 'string', title: 'X' }, y: {} }
  pins.take(list(tool('a', { inputSchema: { type: 'object', properties } })))
  const turned = { properties: { y: {}, x: { title: 'X', type: 'string' } }, type: 'object' }
  const more = {
    inputSchema: turned,
    title: 'A',
    outputSchema: { type: 'object' },
    _meta: { 'anthropic/alwaysLoad': false },
  }
  const taken = pins.take(list(tool('a', more)))
  expect(taken.tools).toEqual([{ name: 'a', description: 'd', inputSchema: turned }])
})

test('the whole name has to be one that the model can use', () => {
  const pins = new ToolPins('mcp__s__', [])
  const longest = 'x'.repeat(128 - 'mcp__s__'.length)
  const odd = [`${longest}x`, '', 'a b', 'a.b', 'a\u0000', 'é', '../a']
  const taken = pins.take(list(tool(longest), ...odd.map((name) => tool(name))))
  expect(names(taken)).toEqual([longest])
  expect(taken.complaints).toHaveLength(odd.length)
})

test('an input that the model cannot be told of leaves its tool out', () => {
  const pins = new ToolPins('mcp__s__', [])
  const schemas = [
    { anyOf: [{}] },
    { properties: { 'a b': {} } },
    { properties: [] },
    { properties: { a: true } },
    { properties: { a: {} }, required: 'a' },
    { properties: { a: { items: [{ type: 'number' }] } } },
  ]
  const usable = { properties: { 'a.b-c_1': { anyOf: [{}] } }, required: ['a.b-c_1'] }
  const tools = [...schemas, usable].map((schema, index) =>
    tool(`t${index}`, { inputSchema: { type: 'object', ...schema } }),
  )
  expect(names(pins.take(list(...tools)))).toEqual(['t6'])
})

test('a deep schema is left out, whatever it is made of', () => {
  const pins = new ToolPins('mcp__s__', [])
  const deep = (levels: number): object => {
    let value: object = {}
    for (let level = 0; level < levels; level++) value = level % 2 === 0 ? { a: value } : [value]
    return { type: 'object', deep: value }
  }
  const tools = [10, 60, 200, 20_000].map((levels) => tool(`t${levels}`, { inputSchema: deep(levels) }))
  expect(names(pins.take(list(...tools)))).toEqual(['t10', 't60'])
})

test('a server that names ever new tools comes to an end', () => {
  const pins = new ToolPins('mcp__s__', [])
  for (let round = 0; round < 2; round++) {
    pins.take(list(...Array.from({ length: 512 }, (_, index) => tool(`t${round}_${index}`))))
  }
  const last = pins.take(list(tool('t0_0'), tool('more')))
  expect(names(last)).toEqual(['t0_0'])
  expect(last.complaints).toEqual(['its tool more comes after too many others'])
})

test('what was seen before binds a server from the beginning, and what is new of it is told', () => {
  const earlier = new ToolPins('mcp__s__', [])
  const { news } = earlier.take(list(tool('a'), tool('b'), tool('c')))
  expect(news.map(({ name, is_withheld }) => [name, is_withheld])).toEqual([
    ['a', false],
    ['b', false],
    ['c', false],
  ])
  expect(earlier.take(list(tool('a'), tool('b'))).news).toEqual([])
  const later = new ToolPins('mcp__s__', news)
  const changed = later.take(list(tool('a'), tool('b', { description: 'e' }), tool('d')))
  expect(names(changed)).toEqual(['a', 'd'])
  expect(changed.complaints).toEqual(['its tool b has changed, and is withheld'])
  const withheld = { ...news[1], is_withheld: true }
  expect(changed.news).toEqual([withheld, { name: 'd', digest: later.digestOf('d'), is_withheld: false }])
  expect(later.digestOf('b')).toBe(news[1]?.digest)
  // Also should it be again as it was.
  const last = new ToolPins('mcp__s__', [...news, ...changed.news])
  expect(names(last.take(list(tool('b'), tool('c'))))).toEqual(['c'])
})

test('a digest is the same for ever: sessions keep it', () => {
  const pins = new ToolPins('mcp__s__', [])
  const annotations = { readOnlyHint: true }
  const { news } = pins.take(list(tool('a'), tool('b', { annotations })))
  expect(news.map(({ digest }) => digest)).toEqual([
    'OJRvrB5EiOKyAiYqsQm0qdMzS5WoxVZZJWckPJ6LZ5w',
    'LapYI1EW81MfWykTslb7eXKKQM1ngojkcpp-zVRGkXk',
  ])
})
