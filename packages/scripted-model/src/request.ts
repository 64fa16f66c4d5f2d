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
  output_config: z
    .looseObject({ format: z.looseObject({ type: z.string(), schema: z.unknown() }).nullish() })
    .nullish(),
})
export type MessagesRequest = z.infer<typeof messagesRequest>
export type RequestMessage = MessagesRequest['messages'][number]

const textBlock = z.object({ type: z.literal('text'), text: z.string() })
const resultBlock = z.object({ type: z.literal('tool_result'), content: content.optional() })

export function blocksOf(value: string | ContentBlock[] | undefined): ContentBlock[] {
  return typeof value === 'string' ? [{ type: 'text', text: value }] : (value ?? [])
}

/** The texts of the text blocks, in order. */
export function textsOf(value: string | ContentBlock[] | undefined): string[] {
  return blocksOf(value).flatMap((block) => {
    const text = textBlock.safeParse(block)
    return text.success ? [text.data.text] : []
  })
}

/** The texts of the tool results, in order; a result of several text blocks is joined by newlines. */
export function resultsOf(message: RequestMessage): string[] {
  return blocksOf(message.content).flatMap((block) => {
    const result = resultBlock.safeParse(block)
    return result.success ? [textsOf(result.data.content).join('\n')] : []
  })
}

export function firstLine(text: string): string {
  return text.trimStart().split(/\r?\n/, 1)[0] ?? ''
}
