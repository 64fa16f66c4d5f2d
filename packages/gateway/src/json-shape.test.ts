import { assert, json, jsonValue, property } from 'fast-check'
import { expect, test } from 'vitest'
import { measureJson } from './json-shape.ts'

function measure(value: unknown): { nodes: number; depth: number } {
  if (typeof value !== 'object' || value === null) return { nodes: 1, depth: 0 }
  const members = Object.values(value).map(measure)
  return {
    nodes: 1 + members.reduce((sum, { nodes }) => sum + nodes, 0),
    depth: 1 + Math.max(0, ...members.map(({ depth }) => depth)),
  }
}

test('counts at least what parsing makes, and at most twice that, whatever the strings hold', () => {
  assert(
    property(jsonValue({ stringUnit: 'binary' }), (value) => {
      const expected = measure(value)
      const measured = measureJson(Buffer.from(JSON.stringify(value)), Infinity)
      expect(measured.depth).toBe(expected.depth)
      expect(measured.nodes).toBeGreaterThanOrEqual(expected.nodes)
      expect(measured.nodes).toBeLessThanOrEqual(2 * expected.nodes)
    }),
    { numRuns: 300 },
  )
})

test('strings count as one, however they are escaped', () => {
  for (const text of ['[[[', '","', '\\', '\\\\"', '"', '{"a":[', '\\"[']) {
    assert(
      property(json(), (around) => {
        const value = [text + around + text, text]
        expect(measureJson(Buffer.from(JSON.stringify(value)), Infinity)).toEqual({ nodes: 3, depth: 1 })
      }),
    )
  }
})

test('stops at the limit, and comes to an end on anything', () => {
  expect(measureJson(Buffer.from('[1,'.repeat(1000)), 10).nodes).toBe(11)
  for (const odd of ['', '"', '"\\', ']]]]', '"\\"', '\\']) measureJson(Buffer.from(odd), 10)
})
