/** Checkpoints of a session, and sessions that begin with another's. Ours: the profile does not have them. */
import { z } from 'zod'
import { metadata } from './metadata.ts'
import { sandboxName } from './sandbox-name.ts'
import { session, sessionLimits } from './session.ts'
import { idText, text, timestamp } from './text.ts'

export const checkpointCauses = ['turn_over', 'park', 'request', 'fork'] as const

export const checkpoint = z
  .object({
    id: idText,
    type: z.literal('checkpoint'),
    session_id: idText,
    created_at: timestamp,
    /** `turn_over`: a turn had ended; `park`: the sandbox was put away; `request`: by this API; `fork`: the session began with it. */
    cause: z.enum(checkpointCauses),
    /** Files and directories, and bytes of all files together. */
    entries: z.int(),
    bytes: z.int(),
    /** What it took to store it, beside what was stored before. */
    stored_bytes: z.int(),
    /** What of the files it does not have, or not as it was: sockets, pipes, devices, setuid bits. The first of them, in the sandbox's words. */
    refused: z.array(z.object({ path: z.string(), reason: z.string() })).max(20),
    /** How many there are in all. */
    refused_count: z.int(),
  })
  .meta({ id: 'Checkpoint' })
export type Checkpoint = z.infer<typeof checkpoint>

/** One of the two ids. */
export const forkSessionBody = z
  .strictObject({
    checkpoint_id: idText.optional(),
    event_id: idText.optional(),
    title: text({ max: sessionLimits.title }).nullish(),
    metadata: metadata.optional(),
    /** The fork lives in the environment's sandbox of that name; else in one of its own. */
    berth: z.strictObject({ sandbox: sandboxName.nullish() }).nullish(),
  })
  .refine((body) => (body.checkpoint_id === undefined) !== (body.event_id === undefined), {
    error: 'name either checkpoint_id or event_id',
  })
  .meta({ id: 'ForkSessionParams' })
export type ForkSessionBody = z.infer<typeof forkSessionBody>

export const forkedSession = z
  .object({
    session,
    /** The checkpoint whose files the session has, and when that was taken; null: it begins without files. */
    checkpoint_id: idText.nullable(),
    workspace_as_of: timestamp.nullable(),
  })
  .meta({ id: 'ForkedSession' })
export type ForkedSession = z.infer<typeof forkedSession>
