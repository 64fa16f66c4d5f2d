/** Events that a client sends: `POST /v1/sessions/{id}/events` and `initial_events`. */
import { z } from 'zod'
import { messageBlock, resultBlock, textBlock } from './content.ts'
import { idText, prose, text } from './text.ts'

const isNotEmpty = (block: z.infer<typeof messageBlock>): boolean => block.type !== 'text' || block.text !== ''

export const userMessageParams = z
  .strictObject({
    type: z.literal('user.message'),
    content: z.array(messageBlock.refine(isNotEmpty, { error: 'must not be empty', path: ['text'] })).min(1),
  })
  .meta({ id: 'UserMessageParams' })

export const userInterruptParams = z
  .strictObject({ type: z.literal('user.interrupt'), session_thread_id: idText.nullish() })
  .meta({ id: 'UserInterruptParams' })

export const userToolConfirmationParams = z
  .strictObject({
    type: z.literal('user.tool_confirmation'),
    tool_use_id: idText,
    result: z.enum(['allow', 'deny']),
    deny_message: prose.nullish(),
  })
  .refine((event) => event.result === 'deny' || (event.deny_message ?? null) === null, {
    error: 'is only allowed when result is deny',
    path: ['deny_message'],
  })
  .meta({ id: 'UserToolConfirmationParams' })

const toolResult = { content: z.array(resultBlock).optional(), is_error: z.boolean().nullish() }

export const userCustomToolResultParams = z
  .strictObject({ type: z.literal('user.custom_tool_result'), custom_tool_use_id: idText, ...toolResult })
  .meta({ id: 'UserCustomToolResultParams' })

export const userToolResultParams = z
  .strictObject({ type: z.literal('user.tool_result'), tool_use_id: idText, ...toolResult })
  .meta({ id: 'UserToolResultParams' })

export const userDefineOutcomeParams = z
  .strictObject({
    type: z.literal('user.define_outcome'),
    description: prose,
    rubric: z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('text'), content: text({ max: 262_144 }) }),
      z.strictObject({ type: z.literal('file'), file_id: idText }),
    ]),
    max_iterations: z.int().min(1).max(20).nullish(),
  })
  .meta({ id: 'UserDefineOutcomeParams' })

export const systemMessageParams = z
  .strictObject({ type: z.literal('system.message'), content: z.array(textBlock).min(1).max(1000) })
  .meta({ id: 'SystemMessageParams' })

export const clientEvent = z.discriminatedUnion('type', [
  userMessageParams,
  userInterruptParams,
  userToolConfirmationParams,
  userCustomToolResultParams,
  userToolResultParams,
  userDefineOutcomeParams,
  systemMessageParams,
])
export type ClientEvent = z.infer<typeof clientEvent>

export const initialEvent = z.discriminatedUnion('type', [userMessageParams, userDefineOutcomeParams])
export type InitialEvent = z.infer<typeof initialEvent>

export const sendEventsBody = z.strictObject({ events: z.array(clientEvent).min(1) }).meta({ id: 'SendEventsParams' })
export type SendEventsBody = z.infer<typeof sendEventsBody>

export type UserMessageParams = z.infer<typeof userMessageParams>
export type UserInterruptParams = z.infer<typeof userInterruptParams>
export type UserToolConfirmationParams = z.infer<typeof userToolConfirmationParams>
export type UserCustomToolResultParams = z.infer<typeof userCustomToolResultParams>
