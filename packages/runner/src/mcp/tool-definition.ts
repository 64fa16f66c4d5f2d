import type { Tool } from '@modelcontextprotocol/sdk/types.js'
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { isJsonSchema } from './json-schema.ts'

/** Largest definition of a tool, as JSON. */
export const MAX_DEFINITION = 64 * 1024
/** What is nested deeper is no schema that anybody wrote. */
const MAX_DEPTH = 64
/** The model's API takes no longer name, and no other characters. */
const MAX_NAME = 128
const usableName = /^[A-Za-z0-9_-]+$/
/** The same of a member of the input. */
const usableMember = /^[A-Za-z0-9_.-]{1,64}$/
/** It takes no choice at the top of an input, and would refuse every request of the session for it. */
const choices = ['oneOf', 'anyOf', 'allOf']

const definition = z.object({
  name: z.string(),
  description: z.string().nullish(),
  inputSchema: z.looseObject({
    properties: z.record(z.string(), z.looseObject({})).optional(),
    required: z.array(z.string()).optional(),
  }),
  annotations: z
    .object({ readOnlyHint: z.boolean().optional().catch(undefined) })
    .optional()
    .catch(undefined),
})

export interface VettedTool {
  readonly tool: Tool
  /** The same for what means the same. Sessions keep it: made in another way, it would make every tool of theirs another. */
  readonly digest: string
}
export type Vetted = VettedTool | { readonly name: string; readonly fault: string }

/**
 * A tool as the model may be told of it, of what a server says; a schema is passed on as it is, and nothing in it is followed. `prefix`: what comes
 * before its name.
 */
export function vetTool(said: unknown, prefix: string): Vetted {
  const parsed = definition.safeParse(said)
  if (!parsed.success) return { name: nameOf(said), fault: 'is not defined as a tool is' }
  const { name, description, inputSchema, annotations } = parsed.data
  if (!usableName.test(name) || prefix.length + name.length > MAX_NAME)
    return { name, fault: 'has a name that the model cannot use' }
  if (depthOf(inputSchema) > MAX_DEPTH) return { name, fault: `is nested deeper than ${MAX_DEPTH} levels` }
  if (inputSchema['type'] !== 'object') return { name, fault: 'takes no object' }
  if (choices.some((keyword) => keyword in inputSchema)) return { name, fault: 'takes a choice of inputs' }
  if (!Object.keys(inputSchema.properties ?? {}).every((member) => usableMember.test(member))) {
    return { name, fault: 'has an input with a name that the model cannot use' }
  }
  if (!isJsonSchema(inputSchema)) return { name, fault: 'has an input that is no JSON Schema of draft 2020-12' }
  const tool: Tool = {
    name,
    ...(typeof description === 'string' ? { description: description.toWellFormed() } : {}),
    inputSchema: { ...inputSchema, type: 'object' },
    ...(annotations?.readOnlyHint === true ? { annotations: { readOnlyHint: true } } : {}),
  }
  const text = JSON.stringify(sorted(tool))
  if (Buffer.byteLength(text) > MAX_DEFINITION)
    return { name, fault: `is defined in more than ${MAX_DEFINITION} bytes` }
  return { tool, digest: createHash('sha256').update(text).digest('base64url') }
}

const named = z.object({ name: z.string() })

function nameOf(said: unknown): string {
  const parsed = named.safeParse(said)
  return parsed.success ? parsed.data.name : '(unnamed)'
}

/** Level by level, and not into what is too deep: a stranger's nesting must not become our stack. */
function depthOf(value: unknown): number {
  let level = [value]
  for (let depth = 0; depth <= MAX_DEPTH; depth++) {
    level = level.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : []))
    if (level.length === 0) return depth
  }
  return MAX_DEPTH + 1
}

/** The same value with members in the order of their names. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  )
}
