import { z } from 'zod'

const schemaNode = z.looseObject({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  const: z.unknown().optional(),
  enum: z.array(z.unknown()).optional(),
  anyOf: z.array(z.unknown()).optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  required: z.array(z.string()).optional(),
})

/** A smallest value that fits a plain JSON schema (no `$ref`, no patterns or bounds); strings say `text`. */
export function instanceOf(schema: unknown, text: string): unknown {
  const parsed = schemaNode.safeParse(schema)
  if (!parsed.success) return text
  const node = parsed.data
  if (node.const !== undefined) return node.const
  if (node.enum !== undefined) return node.enum[0]
  if (node.anyOf !== undefined) return instanceOf(node.anyOf[0], text)
  switch ([node.type].flat()[0] ?? 'string') {
    case 'object':
      return Object.fromEntries((node.required ?? []).map((key) => [key, instanceOf(node.properties?.[key], text)]))
    case 'array':
      return []
    case 'number':
    case 'integer':
      return 0
    case 'boolean':
      return false
    case 'null':
      return null
    default:
      return text
  }
}
