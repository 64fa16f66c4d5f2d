/** Ports of a session's sandbox, reached by a signed URL. Ours: the profile does not have them. */
import { z } from 'zod'
import { timestamp } from './text.ts'

/** As part of a path. */
export const portNumber = z
  .string()
  .regex(/^[1-9]\d{0,4}$/, { error: 'must be a port number' })
  .transform(Number)
  .pipe(z.int().max(65_535, { error: 'must be a port number' }))

const WEEK_SECONDS = 604_800

/** `GET` includes HEAD and WebSockets. */
export const portMethod = z.enum(['GET', 'any'])
export type PortMethod = z.infer<typeof portMethod>

export const portUrlBody = z
  .strictObject({
    /** Seconds from now. */
    expires_in: z.int().min(1).max(WEEK_SECONDS).default(3_600),
    method: portMethod.default('GET'),
  })
  .meta({ id: 'PortUrlParams' })

export const portUrl = z.object({ url: z.string(), expires_at: timestamp }).meta({ id: 'PortUrl' })
export type PortUrl = z.infer<typeof portUrl>
