import { z } from 'zod'

/** The part of a Messages API request that the scripted model reads. Everything else is accepted and ignored. */
export const contentBlock = z.looseObject({ type: z.string() })
export type ContentBlock = z.infer<typeof contentBlock>

const content = z.union([z.string(), z.array(contentBlock)])

export const messagesRequest = z.looseObject({
  model: z.string().min(1),
  /** `system` messages occur in mid-conversation too. */
  messages: z.array(z.looseObject({ role: z.enum(['user', 'assistant', 'system']), content })).min(1),
  system: content.optional(),
  stream: z.boolean().optional(),
  tools: z.array(z.looseObject({ name: z.string() })).optional(),
  output_config: z
    .looseObject({ format: z.looseObject({ type: z.string(), schema: z.unknown() }).nullish() })
    .nullish(),
})
export type MessagesRequest = z.infer<typeof messagesRequest>
export type RequestMessage = MessagesRequest['messages'][number]

const textBlock = z.object({ type: z.literal('text'), text: z.string() })
const callBlock = z.object({ type: z.literal('tool_use'), id: z.string() })
const resultBlock = z.object({ type: z.literal('tool_result'), tool_use_id: z.string(), content: content.optional() })

export function blocksOf(value: string | ContentBlock[] | undefined): ContentBlock[] {
  return typeof value === 'string' ? [{ type: 'text', text: value }] : (value ?? [])
}

/** The texts of the text blocks, in order. */
export function textsOf(value: string | ContentBlock[] | undefined): string[] {
  return pick(value, textBlock).map(({ text }) => text)
}

function pick<T>(value: string | ContentBlock[] | undefined, kind: z.ZodType<T>): T[] {
  return blocksOf(value).flatMap((block) => {
    const parsed = kind.safeParse(block)
    return parsed.success ? [parsed.data] : []
  })
}

/**
 * The texts of the newest message's tool results, in the order of their calls: the CLI sends the results of parallel
 * calls in the order in which they ended. A result of several text blocks is joined by newlines.
 */
export function newestResults(messages: RequestMessage[]): string[] {
  const calls = messages.flatMap(({ content }) => pick(content, callBlock)).map(({ id }) => id)
  const results = messages.map(({ content }) => pick(content, resultBlock)).findLast((found) => found.length > 0) ?? []
  return results
    .toSorted((a, b) => calls.indexOf(a.tool_use_id) - calls.indexOf(b.tool_use_id))
    .map((result) => textsOf(result.content).join('\n'))
}

export function firstLine(text: string): string {
  return text.trimStart().split(/\r?\n/, 1)[0] ?? ''
}
