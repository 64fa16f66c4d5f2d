/**
 * Directories that belong to one session of a sandbox. The runner makes those that are missing, under the session's uid, before it does anything
 * else for the session; what is above them can be written by no session afterwards.
 */
import { z } from 'zod'

export const ownDirs = z.array(z.object({ path: z.string(), mode: z.int().min(0).max(0o777) }))
export type OwnDirs = z.infer<typeof ownDirs>
