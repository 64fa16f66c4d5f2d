/** The envelope of every error, on every route. */
import { z } from 'zod'

export const errorEnvelope = z
  .object({
    type: z.literal('error'),
    error: z.object({
      type: z.string(),
      message: z.string(),
      /** `error_code` names the cause where the profile has a name for it. */
      details: z.record(z.string(), z.unknown()).optional(),
    }),
    request_id: z.string(),
  })
  .meta({ id: 'Error' })
export type ErrorEnvelope = z.infer<typeof errorEnvelope>
