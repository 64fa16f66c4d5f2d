/** What `Admission` and its thread say to each other: one question at a time, one answer to each. */
import { z } from 'zod'

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array)

export const toAdmitWorker = z.object({
  bytes,
  endpoint: z.enum(['messages', 'count_tokens']),
  policy: z.object({ models: z.array(z.string()).nullable(), server_tools: z.array(z.string()) }),
})
export type ToAdmitWorker = z.infer<typeof toAdmitWorker>

const admitted = {
  model: z.string(),
  answering: z.array(z.string()).nullable(),
  maxTokens: z.int().nonnegative(),
  stream: z.boolean(),
}
export const fromAdmitWorker = z.discriminatedUnion('type', [
  z.object({ type: z.literal('admitted'), body: bytes, ...admitted }),
  z.object({ type: z.literal('refused'), status: z.int(), message: z.string() }),
  z.object({ type: z.literal('failed'), message: z.string() }),
])
export type FromAdmitWorker = z.infer<typeof fromAdmitWorker>
