/** A user message's blocks as the Messages API takes them. */
import type { MessageBlock } from '@berth/protocol/api/content'

export function toModelContent(blocks: readonly MessageBlock[]): Record<string, unknown>[] {
  return blocks.map((block) => {
    if (block.type !== 'document') return { ...block }
    const { title, context, ...rest } = block
    return { ...rest, ...(title ? { title } : {}), ...(context ? { context } : {}) }
  })
}
