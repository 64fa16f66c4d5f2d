/** What was seen of a run, as plain data: all that the checker knows. */
import { z } from 'zod'
import type { Policy } from './plan.ts'

/** Open: what a rule does not name it does not read, but it compares the whole. */
export const seenEvent = z.looseObject({
  id: z.string(),
  type: z.string(),
  processed_at: z.string().nullish(),
  tool_use_id: z.string().optional(),
  custom_tool_use_id: z.string().optional(),
  /** Of a confirmation. */
  result: z.string().optional(),
  is_error: z.boolean().nullish(),
  input: z.unknown().optional(),
  content: z.unknown().optional(),
  stop_reason: z.object({ type: z.string(), event_ids: z.array(z.string()).optional() }).nullish(),
  error: z
    .looseObject({ type: z.string().optional(), retry_status: z.looseObject({ type: z.string() }).optional() })
    .optional(),
})
export type SeenEvent = z.infer<typeof seenEvent>

/** One POST of one event, with every answer that came under its key. */
export interface Post {
  readonly key: string
  readonly kind: 'message' | 'confirmation' | 'custom_result' | 'interrupt'
  /** Of a message: first line of the prompt. Of an answer: event id of the call. */
  readonly about: string
  readonly answers: { readonly status: number; readonly ids: readonly string[] }[]
}

export interface ModelRequest {
  readonly n: number
  readonly prompt: string
  readonly step: number
  /** Content of the last user message, as JSON. */
  readonly lastUser: string
  /** Tool results that it came with, as JSON. */
  readonly results: string
}

/** What one connection of a follower showed that resumes where it stood. */
export interface Resumed {
  /** `Last-Event-ID`; null for the first. */
  readonly after: string | null
  readonly events: readonly SeenEvent[]
}

/** A session that began as a copy of another. */
export interface ForkEvidence {
  readonly id: string
  /** Event of the other session, behind which it begins. */
  readonly at: string
  /** First line of the one message that it was sent. */
  readonly about: string
  /** Its list before that message, and at last. */
  readonly copied: readonly SeenEvent[]
  readonly finalList: readonly SeenEvent[]
}

export interface SessionEvidence {
  readonly id: string
  readonly policy: Policy
  readonly status: string
  readonly posts: readonly Post[]
  /** Each a whole listing, in the order of their making. */
  readonly lists: readonly (readonly SeenEvent[])[]
  /** Each what one connection showed, without previews. */
  readonly streams: readonly (readonly SeenEvent[])[]
  /** In the order of their making. */
  readonly resumed: readonly Resumed[]
  readonly forks: readonly ForkEvidence[]
  readonly finalList: readonly SeenEvent[]
  readonly sdkNumbers: readonly number[]
  /** Lines of the effects file of each sandbox that the session had, by sandbox. */
  readonly effects: Readonly<Record<string, readonly string[]>>
}

export interface Evidence {
  readonly sessions: readonly SessionEvidence[]
  readonly modelRequests: readonly ModelRequest[]
  /** What was left on the machine after all sessions were deleted. */
  readonly leftovers: readonly string[]
}

/** What a client was shown, as it is. */
export function toSeen(events: readonly unknown[]): SeenEvent[] {
  return events.map((event) => seenEvent.parse(event))
}
