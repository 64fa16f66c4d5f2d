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
