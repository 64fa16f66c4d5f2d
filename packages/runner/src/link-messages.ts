import { fromServer } from '@berth/protocol/link'
import type { FromServer } from '@berth/protocol/link'
import { z } from 'zod'

/** A frame whose number is readable and whose command is not: it must be answered, or the server would send it for ever. */
export interface UnreadableFrame {
  readonly type: 'unreadable'
  readonly session_id: string
  readonly seq: number
  readonly command: string
  readonly detail: string
}

const envelope = z.object({
  type: z.literal('frame'),
  session_id: z.string(),
  seq: z.int().positive(),
  body: z.object({ type: z.string() }),
})

/** Reads what the server sent. Throws when it is nothing of the link at all. */
export function readServerMessage(text: string): FromServer | UnreadableFrame {
  const data: unknown = JSON.parse(text)
  const message = fromServer.safeParse(data)
  if (message.success) return message.data
  const frame = envelope.safeParse(data)
  if (!frame.success) throw message.error
  const { session_id, seq, body } = frame.data
  return { type: 'unreadable', session_id, seq, command: body.type, detail: z.prettifyError(message.error) }
}
