/** Files of a session: in its sandbox while it has one, else in its newest checkpoint. Ours: the profile does not have them. */
import { z } from 'zod'
import { text, timestamp } from './text.ts'

/** Absolute in the sandbox, or relative to `/workspace`. */
export const filePath = text({ min: 1, max: 4096 }).refine((path) => !path.includes('\0'), {
  error: 'must not have a NUL',
})

export const sessionFile = z
  .object({
    name: z.string(),
    /** Absolute in the sandbox. */
    path: z.string(),
    type: z.enum(['directory', 'file', 'symlink', 'other']),
    /** Bytes. */
    size: z.int(),
    /** Permission bits in octal. */
    mode: z.string(),
    modified_at: timestamp,
    /** Of a symlink. */
    target: z.string().optional(),
  })
  .meta({ id: 'SessionFile' })
export type SessionFile = z.infer<typeof sessionFile>

export const sessionFileList = z
  .object({
    data: z.array(sessionFile),
    /** There are more than were asked for. */
    is_truncated: z.boolean(),
    /** Null: from the sandbox, as they are now; else the checkpoint that has them. */
    checkpoint_id: z.string().nullable(),
  })
  .meta({ id: 'SessionFileList' })
export type SessionFileList = z.infer<typeof sessionFileList>
