import { z } from 'zod'

const schema: z.ZodType = z.lazy(() => z.union([z.boolean(), keywords]))
const text = z.string()
const flag = z.boolean()
const number = z.number()
const count = number.nonnegative().refine(Number.isInteger)
const names = z.array(text).refine((list) => new Set(list).size === list.length)
const kind = z.enum(['array', 'boolean', 'integer', 'null', 'number', 'object', 'string'])
const anchor = text.regex(/^[A-Za-z_][-A-Za-z0-9._]*$/)
const byName = z.record(text, schema)
const choice = z.array(schema).min(1)

/** What draft 2020-12 says of its keywords. Others are annotations. */
const keywords = z
  .looseObject({
    type: z.union([kind, names.min(1).pipe(z.array(kind))]),
    $id: text.regex(/^[^#]*#?$/),
    $vocabulary: z.record(text, flag),
    multipleOf: number.positive(),
    dependentRequired: z.record(text, names),
    dependencies: z.record(text, z.union([schema, names])),
    required: names,
    ...each(z.array(z.unknown()), ['enum', 'examples']),
    ...each(anchor, ['$anchor', '$dynamicAnchor', '$recursiveAnchor']),
    ...each(text, ['$schema', '$ref', '$dynamicRef', '$recursiveRef', '$comment', 'title', 'description']),
    ...each(text, ['pattern', 'format', 'contentMediaType', 'contentEncoding']),
    ...each(flag, ['uniqueItems', 'deprecated', 'readOnly', 'writeOnly']),
    ...each(number, ['maximum', 'exclusiveMaximum', 'minimum', 'exclusiveMinimum']),
    ...each(count, ['maxLength', 'minLength', 'maxItems', 'minItems', 'maxProperties', 'minProperties']),
    ...each(count, ['maxContains', 'minContains']),
    ...each(byName, ['$defs', 'definitions', 'dependentSchemas', 'properties', 'patternProperties']),
    ...each(schema, ['propertyNames', 'additionalProperties', 'unevaluatedProperties', 'unevaluatedItems', 'items']),
    ...each(schema, ['contains', 'contentSchema', 'if', 'then', 'else', 'not']),
    ...each(choice, ['prefixItems', 'allOf', 'anyOf', 'oneOf']),
  })
  .partial()

/**
 * Is this a JSON Schema of draft 2020-12, as far as its form goes? Nothing in it is compiled, matched or followed. Not to be asked of what is nested
 * without bounds.
 */
export function isJsonSchema(value: unknown): boolean {
  return schema.safeParse(value).success
}

function each(form: z.ZodType, members: readonly string[]): Record<string, z.ZodType> {
  return Object.fromEntries(members.map((name) => [name, form]))
}
