import { expect, test } from 'vitest'
import { ToolPins } from './tool-pins.ts'

const tool = (name: string, more: object = {}) => ({ name, description: 'd', inputSchema: { type: 'object' }, ...more })
const list = (...tools: unknown[]) => ({ tools, isCut: false })
const names = (taken: ReturnType<ToolPins['take']>) => taken.tools.map(({ name }) => name)

test('a tool that changes is withheld for good, and told once', () => {
  const pins = new ToolPins('mcp__s__')
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
  const pins = new ToolPins('mcp__s__')
  pins.take(list(tool('a')))
  pins.take(list())
  expect(names(pins.take(list(tool('a'))))).toEqual(['a'])
  expect(names(pins.take(list(tool('a', { annotations: { readOnlyHint: true } }))))).toEqual([])
})

test('what means the same is the same, and what the model does not see is not looked at', () => {
  const pins = new ToolPins('mcp__s__')
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
  const pins = new ToolPins('mcp__s__')
  const longest = 'x'.repeat(128 - 'mcp__s__'.length)
  const odd = [`${longest}x`, '', 'a b', 'a.b', 'a\u0000', 'é', '../a']
  const taken = pins.take(list(tool(longest), ...odd.map((name) => tool(name))))
  expect(names(taken)).toEqual([longest])
  expect(taken.complaints).toHaveLength(odd.length)
})

test('an input that the model cannot be told of leaves its tool out', () => {
  const pins = new ToolPins('mcp__s__')
  const schemas = [
    { anyOf: [{}] },
    { properties: { 'a b': {} } },
    { properties: [] },
    { properties: { a: true } },
    { properties: { a: {} }, required: 'a' },
  ]
  const usable = { properties: { 'a.b-c_1': { anyOf: [{}] } }, required: ['a.b-c_1'] }
  const tools = [...schemas, usable].map((schema, index) =>
    tool(`t${index}`, { inputSchema: { type: 'object', ...schema } }),
  )
  expect(names(pins.take(list(...tools)))).toEqual(['t5'])
})

test('a deep schema is left out, whatever it is made of', () => {
  const pins = new ToolPins('mcp__s__')
  const deep = (levels: number): object => {
    let value: object = {}
    for (let level = 0; level < levels; level++) value = level % 2 === 0 ? { a: value } : [value]
    return { type: 'object', deep: value }
  }
  const tools = [10, 60, 200, 20_000].map((levels) => tool(`t${levels}`, { inputSchema: deep(levels) }))
  expect(names(pins.take(list(...tools)))).toEqual(['t10', 't60'])
})

test('a server that names ever new tools comes to an end', () => {
  const pins = new ToolPins('mcp__s__')
  for (let round = 0; round < 8; round++) {
    pins.take(list(...Array.from({ length: 512 }, (_, index) => tool(`t${round}_${index}`))))
  }
  const last = pins.take(list(tool('t0_0'), tool('more')))
  expect(names(last)).toEqual(['t0_0'])
  expect(last.complaints).toEqual(['its tool more comes after too many others'])
})
