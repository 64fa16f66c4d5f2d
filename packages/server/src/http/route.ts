/** The parts that all route definitions are made of. */
import { errorEnvelope } from '@berth/protocol/api/error'
import type { z } from 'zod'

export const jsonBody = <Schema extends z.ZodType>(schema: Schema) => ({
  required: true as const,
  content: { 'application/json': { schema } },
})

/** One answer, and the envelope for everything else. */
export const answers = <Schema extends z.ZodType>(schema: Schema, description: string) => ({
  200: { description, content: { 'application/json': { schema } } },
  default: { description: 'An error.', content: { 'application/json': { schema: errorEnvelope } } },
})

/** Every route that asks for a key. */
export const security: Record<string, string[]>[] = [{ bearer: [] }, { apiKey: [] }]
