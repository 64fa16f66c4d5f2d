import type { CallToolResult, ContentBlock } from '@modelcontextprotocol/sdk/types.js'
import { z } from 'zod'
import { printable } from './remote-failure.ts'

/** Longest text of a result, in characters, all its blocks together. */
export const MAX_TEXT = 1024 * 1024
/** Largest image, in base64. */
const MAX_IMAGE = 5 * 1024 * 1024
const MAX_BLOCKS = 256

/** How the bytes of each kind of image that the model takes begin. */
const imageKinds: Readonly<Record<string, readonly number[]>> = {
  'image/png': [0x89, 0x50, 0x4e, 0x47],
  'image/jpeg': [0xff, 0xd8, 0xff],
  'image/gif': [0x47, 0x49, 0x46, 0x38],
  'image/webp': [0x52, 0x49, 0x46, 0x46],
}

const known = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text'), text: z.string() }),
  z.object({ type: z.literal('image'), data: z.string(), mimeType: z.string() }),
  z.object({
    type: z.literal('resource'),
    resource: z.object({ uri: z.string(), text: z.string().optional(), mimeType: z.string().optional() }),
  }),
  z.object({ type: z.literal('resource_link'), uri: z.string(), name: z.string().optional() }),
  z.object({ type: z.literal('audio'), mimeType: z.string() }),
])
type Known = z.infer<typeof known>

const result = z.object({
  content: z.array(z.unknown()).optional(),
  structuredContent: z.record(z.string(), z.unknown()).nullish(),
  isError: z.boolean().optional().catch(undefined),
})

/** A call's result as the model reads it: texts and images, whatever the server says; a resource is told of and never opened. */
export function vetResult(said: unknown): CallToolResult {
  const parsed = result.safeParse(said)
  if (!parsed.success) return errorResult('The MCP server answered with what is no result of a tool.')
  const { content = [], structuredContent, isError } = parsed.data
  if (content.length > MAX_BLOCKS) return errorResult(`The result has more than ${MAX_BLOCKS} parts and was left out.`)
  const blocks = content.map((block) => {
    const seen = known.safeParse(block)
    return seen.success ? toBlock(seen.data) : note('a part of an unknown kind was left out')
  })
  if (blocks.length === 0 && structuredContent) blocks.push({ type: 'text', text: asText(structuredContent) })
  const length = blocks.reduce((sum, block) => sum + (block.type === 'text' ? block.text.length : 0), 0)
  if (length > MAX_TEXT) {
    return errorResult(
      `The result has ${length} characters, more than the ${MAX_TEXT} that are taken, and was left out.`,
    )
  }
  return { content: blocks, isError: isError ?? false }
}

export function errorResult(text: string): CallToolResult {
  return { content: [{ type: 'text', text }], isError: true }
}

function toBlock(block: Known): ContentBlock {
  switch (block.type) {
    case 'text':
      return { type: 'text', text: block.text.toWellFormed() }
    case 'image':
      return isImage(block) ? block : note('an image that the model does not take was left out')
    case 'resource': {
      const { uri, text } = block.resource
      return text === undefined
        ? note(`a resource that is no text was left out: ${uri}`)
        : { type: 'text', text: `[resource ${printable(uri)}]\n${text.toWellFormed()}` }
    }
    case 'resource_link':
      return note(`a link to a resource: ${block.name ?? ''} ${block.uri}`)
    case 'audio':
      return note('audio was left out')
    default:
      return block satisfies never
  }
}

/** An image that is none would be refused with every request that the conversation makes from then on. */
function isImage({ data, mimeType }: { data: string; mimeType: string }): boolean {
  const start = imageKinds[mimeType]
  if (start === undefined || data.length > MAX_IMAGE || !/^[A-Za-z0-9+/]+={0,2}$/.test(data)) return false
  const bytes = Buffer.from(data.slice(0, 16), 'base64')
  return data.length % 4 === 0 && start.every((byte, index) => bytes[index] === byte)
}

function note(text: string): { type: 'text'; text: string } {
  return { type: 'text', text: `[${printable(text)}]` }
}

/** What is nested too deep to be written is left out. */
function asText(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    return '[a result that cannot be written down was left out]'
  }
}
