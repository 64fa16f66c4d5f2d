import type { SDKUserMessage } from '@anthropic-ai/claude-agent-sdk'
import type { Command } from '@berth/protocol/link'
import type { UUID } from 'node:crypto'
import { z } from 'zod'

type UserContent = Exclude<SDKUserMessage['message']['content'], string>

const block = z.looseObject({ type: z.enum(['text', 'image', 'document', 'search_result']) })
const userContent = z.array(z.custom<UserContent[number]>((value) => block.safeParse(value).success)).min(1)
const uuid = z.custom<UUID>((value) => z.uuid().safeParse(value).success)

/** The SDK's form of an input. Throws when its content is nothing that a user can say. */
export function userMessage(input: Command & { type: 'input' }): SDKUserMessage {
  const content = userContent.safeParse(input.content)
  if (!content.success)
    throw new Error('an input consists of text, image, document and search_result blocks, at least one')
  return {
    type: 'user',
    uuid: uuid.parse(input.uuid),
    session_id: '',
    parent_tool_use_id: null,
    message: { role: 'user', content: content.data },
  }
}
