import { expect, test } from 'vitest'
import { isJsonSchema } from './json-schema.ts'

/** Schemas of a member, as servers write them. */
const good: object[] = [
  { type: ['string', 'null'], enum: ['a', null], default: null, nullable: true, 'x-order': 1 },
  { type: 'integer', minimum: 0, exclusiveMinimum: 0, multipleOf: 0.5, minLength: 2 },
  { type: 'string', pattern: '(?P<a>x)', format: 'nonsense', $comment: 'a' },
  { items: true, prefixItems: [{}], additionalItems: { type: 'any' } },
  { properties: { a: true }, required: [], additionalProperties: { $ref: '#/$defs/a' } },
  { anyOf: [{ const: null }, { not: {} }], if: {}, else: false, dependencies: { a: ['b'], b: {} } },
  { $schema: 'http://json-schema.org/draft-07/schema#', $id: 'a#', definitions: { a: {} }, $recursiveRef: '#' },
]
/** Of earlier drafts, or of none. */
const bad: object[] = [
  { items: [{ type: 'number' }] },
  { exclusiveMinimum: true },
  { required: true },
  { required: ['a', 'a'] },
  { type: 'any' },
  { type: ['string', 'string'] },
  { type: [] },
  { enum: 'a' },
  { anyOf: [] },
  { not: [] },
  { minLength: -1 },
  { minLength: 1.5 },
  { multipleOf: 0 },
  { properties: { a: null } },
  { properties: { a: { items: { description: null } } } },
  { definitions: { a: { type: 'any' } } },
  { dependencies: { a: 7 } },
  { $id: '#x' },
  { $anchor: '1 2' },
  { $ref: 7 },
  { examples: 'a' },
  { uniqueItems: 'true' },
]

test.each(good)('%j is one', (member) => {
  expect(isJsonSchema({ type: 'object', properties: { member } })).toBe(true)
})

test.each(bad)('%j is none', (member) => {
  expect(isJsonSchema(member)).toBe(false)
  expect(isJsonSchema({ type: 'object', properties: { a: { anyOf: [true, { items: member }] } } })).toBe(false)
})
