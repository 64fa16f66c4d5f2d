/** Names of sandboxes in which several sessions live. Ours: the profile does not have them. */
import { z } from 'zod'

export const sandboxName = z.string().regex(/^[a-z0-9-]{1,64}$/, { error: 'must be 1 to 64 of a-z, 0-9 and -' })
