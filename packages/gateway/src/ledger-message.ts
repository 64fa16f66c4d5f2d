/** What the ledger and its worker thread say to each other. */
import { usageQuestion } from '@berth/protocol/gateway'
import { z } from 'zod'

const count = z.int().nonnegative()

/** One model request. Without `outcome` it is still under way; such a row of a gateway that died is closed as `cut` at the next start. */
const ledgerRow = z.object({
  id: z.string(),
  session_id: z.string(),
  workspace_id: z.string(),
  agent_id: z.string(),
  upstream_request_id: z.string().nullable(),
  model_asked: z.string(),
  model_served: z.string().nullable(),
  input_tokens: count,
  output_tokens: count,
  cache_read_input_tokens: count,
  cache_creation_5m_input_tokens: count,
  cache_creation_1h_input_tokens: count,
  web_search_requests: count,
  /** In nano-dollars, as far as is known; null: tokens were used that have no list price. */
  list_cost: count.nullable(),
  /** HTTP status of the upstream's answer; null when there was none. */
  status: z.int().nullable(),
  started_at: z.string(),
  ended_at: z.string().nullable(),
  outcome: z.enum(['ok', 'error', 'cut']).nullable(),
})
export type LedgerRow = z.infer<typeof ledgerRow>

export const question = z.discriminatedUnion('of', [
  z.object({ of: z.literal('session'), session_id: z.string() }),
  z.object({ of: z.literal('spent_by'), session_id: z.string() }),
  z.object({ of: z.literal('spent_on'), workspace_id: z.string(), day: z.string() }),
  z.object({ of: z.literal('groups'), ...usageQuestion.shape }),
])
export type Question = z.infer<typeof question>

export const spent = z.object({ list_cost: count, unpriced_requests: count })
export type Spent = z.infer<typeof spent>

export const toWorker = z.discriminatedUnion('type', [
  z.object({ type: z.literal('write'), batch: z.int(), rows: z.array(ledgerRow) }),
  z.object({ type: z.literal('ask'), query: z.int(), question }),
  z.object({ type: z.literal('close') }),
])
export type ToWorker = z.infer<typeof toWorker>

export const fromWorker = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('written'), batch: z.int(), error: z.string().nullable() }),
  z.object({ type: z.literal('answered'), query: z.int(), answer: z.unknown(), error: z.string().nullable() }),
])
export type FromWorker = z.infer<typeof fromWorker>

export const workerData = z.object({ path: z.string(), now: z.string() })
