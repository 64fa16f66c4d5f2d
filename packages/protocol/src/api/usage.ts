/** `/berth/v1/usage`: what was metered, by session, agent, model and day. */
import { z } from 'zod'
import { ledgerGroup, ledgerGroups } from '../gateway.ts'
import { limitQuery, pageQuery } from './page.ts'
import { idText } from './text.ts'

const day = z.iso.date({ error: 'must be a day such as 2026-11-22' }).optional()
/** One value comes as text, several as a list. */
const groups = z
  .union([ledgerGroup.transform((group) => [group]), z.array(ledgerGroup).max(ledgerGroups.length)])
  .default([])

export const usageQuery = z.object({
  limit: limitQuery({ default: 100, max: 1000 }),
  page: pageQuery,
  agent_id: idText.optional(),
  session_id: idText.optional(),
  /** First and last day (UTC), both included. */
  'day[gte]': day,
  'day[lte]': day,
  'group_by[]': groups,
  group_by: groups,
})

const tokens = z.int().nonnegative()
/** USD as an exact decimal. */
const usd = z.string()

export const usageEntry = z
  .object({
    type: z.literal('usage'),
    /** Of the groups that were asked for; the others are null. */
    day: z.string().nullable(),
    agent_id: z.string().nullable(),
    session_id: z.string().nullable(),
    model: z.string().nullable(),
    requests: tokens,
    input_tokens: tokens,
    output_tokens: tokens,
    cache_read_input_tokens: tokens,
    cache_creation: z.object({ ephemeral_5m_input_tokens: tokens, ephemeral_1h_input_tokens: tokens }),
    web_search_requests: tokens,
    /** Model requests and web searches at list prices; a session's own `list_cost` has its running time besides. */
    list_cost_usd: usd,
    /** Requests of models without a list price: their tokens are counted above, their cost is not. */
    unpriced_requests: tokens,
    /** What sandboxes cost the operator. Null where the entry is of one model. */
    sandbox: z.object({ seconds: z.number(), cost_usd: usd }).nullable(),
  })
  .meta({ id: 'UsageEntry' })
export type UsageEntry = z.infer<typeof usageEntry>
