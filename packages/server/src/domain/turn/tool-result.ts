/** Tool results of the CLI as content blocks of the wire. */
import { resultBlock, type ResultBlock } from '@berth/protocol/api/content'

/** Blocks that the wire does not know are shown as their JSON, so that nothing disappears. */
export function toResultContent(content: unknown): ResultBlock[] {
  if (content === undefined || content === null) return []
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  if (!Array.isArray(content)) return [{ type: 'text', text: JSON.stringify(content) }]
  return content.map((block) => {
    const known = resultBlock.safeParse(block)
    return known.success ? known.data : { type: 'text', text: JSON.stringify(block) }
  })
}

/** A client's result as the model reads it: what a tool result cannot hold is given as its JSON; an error may not be empty. */
export function toContentForModel(blocks: readonly Readonly<Record<string, unknown>>[]): unknown[] {
  if (blocks.length === 0) return [{ type: 'text', text: '(no output)' }]
  return blocks.map((block) => {
    const { type } = block
    return type === 'text' || type === 'image' ? block : { type: 'text', text: JSON.stringify(block) }
  })
}
