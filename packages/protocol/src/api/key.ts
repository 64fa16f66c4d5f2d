/** API keys of a workspace (`/berth/v1/keys`). */
import { z } from 'zod'
import { idText, text, timestamp } from './text.ts'

/** `read`: what GET answers, and nothing else. */
export const keyScope = z.enum(['full', 'read'])
export type KeyScope = z.infer<typeof keyScope>

export const createKeyBody = z
  .strictObject({
    name: text({ min: 1, max: 256 }),
    scope: keyScope.default('full'),
    /** From then on the key is refused; null: it lasts until it is revoked. */
    expires_at: z.iso
      .datetime({ offset: true, error: 'must be an RFC 3339 time' })
      .transform((value) => new Date(value).toISOString())
      .nullable()
      .default(null),
  })
  .meta({ id: 'CreateKeyParams' })
export type CreateKeyBody = z.infer<typeof createKeyBody>

export const apiKey = z
  .object({
    id: idText,
    type: z.literal('api_key'),
    workspace_id: idText,
    name: z.string(),
    /** The key's first characters, to tell keys apart. */
    hint: z.string(),
    scope: keyScope,
    created_at: timestamp,
    expires_at: timestamp.nullable(),
    /** To the minute. */
    last_used_at: timestamp.nullable(),
    revoked_at: timestamp.nullable(),
  })
  .meta({ id: 'ApiKey' })
export type ApiKey = z.infer<typeof apiKey>

/** The answer to a creation, the only one that holds the key itself. */
export const createdKey = apiKey.extend({ key: z.string() }).meta({ id: 'CreatedApiKey' })
export type CreatedKey = z.infer<typeof createdKey>
