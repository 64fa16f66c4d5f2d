/**
 * The gateway's control API: HTTP with JSON bodies on a unix socket that only root can open (`<data>/gateway/control.sock`).
 *
 *   GET    /health                     → GatewayHealth
 *   PUT    /sessions/{id}              SessionRoute → 204   opens (or re-opens, or changes) the session's model socket; idempotent
 *   DELETE /sessions/{id}              → 204                closes it; its ledger stays; idempotent
 *   PUT    /sessions/{id}/budget       BudgetChange → 204   `not_found` where the session has no socket; idempotent
 *   GET    /sessions/{id}/usage        → SessionUsage       zeros for a session it never saw
 *   POST   /usage                      UsageQuestion → UsageGroups   sums over the ledger
 *   POST   /shutdown                   → 202                stop listening, let running requests end (at most 10 s), exit 0
 */
import { z } from 'zod'

export const GATEWAY_PROTOCOL = 2

const tokens = z.int().nonnegative()
/** Nano-dollars, see `list-cost.ts`. */
const nanoUsd = z.int().nonnegative()

export const gatewayHealth = z.object({
  protocol: z.int(),
  version: z.string(),
  pid: z.int(),
  /** sha-256 of the settings of the way to the model, its key among them: a server whose settings differ replaces the gateway. */
  upstream: z.string(),
  sessions: z.int(),
})
export type GatewayHealth = z.infer<typeof gatewayHealth>

/** What a session may cost. Its running time counts, too: `active_ms` before, and from `active_since` on, RFC 3339. */
export const sessionBudget = z.object({
  max_list_cost: nanoUsd,
  active_ms: z.int().nonnegative(),
  active_since: z.string().nullable(),
})
export type SessionBudget = z.infer<typeof sessionBudget>
export const budgetChange = z.object({ budget: sessionBudget.nullable() })

/** One session's way to the model. Kept in the gateway's state directory, so that a restarted gateway reopens it by itself. */
export const sessionRoute = z.object({
  workspace_id: z.string(),
  agent_id: z.string(),
  /** null: none. */
  budget: sessionBudget.nullable(),
  /** Host path of the unix socket to listen on; its directory exists. */
  socket_path: z.string(),
  /** Host uid that may connect (the session's, mapped); the socket is chowned to it, mode 0600. */
  owner_uid: z.int(),
  /** Model ids the session may ask for; null: any. */
  models: z.array(z.string()).nullable(),
  /** Server-side tools (`web_search_…` and the like) that the environment allows, by type prefix. Default: none. */
  server_tools: z.array(z.string()),
})
export type SessionRoute = z.infer<typeof sessionRoute>

/** Requests of models without a list price count in `unpriced_requests`, and `list_cost` is without them. */
const metered = {
  requests: tokens,
  input_tokens: tokens,
  output_tokens: tokens,
  cache_read_input_tokens: tokens,
  cache_creation_5m_input_tokens: tokens,
  cache_creation_1h_input_tokens: tokens,
  web_search_requests: tokens,
  list_cost: nanoUsd,
  unpriced_requests: tokens,
}
export const modelUsage = z.object({ model: z.string(), ...metered })
export type ModelUsage = z.infer<typeof modelUsage>

/** Why a model request is refused that would cost something. */
export const stopped = z.enum(['budget', 'workspace_limit', 'unpriced_model'])
export type Stopped = z.infer<typeof stopped>

/**
 * Sums over the session's ledger. A request is in them before the last byte of its answer reaches the sandbox. `stopped`: its newest model
 * request was refused for this reason, or its next one would be; null: neither.
 */
export const sessionUsage = z.object({
  session_id: z.string(),
  models: z.array(modelUsage),
  stopped: stopped.nullable(),
})
export type SessionUsage = z.infer<typeof sessionUsage>

export const ledgerGroups = ['day', 'agent', 'session', 'model'] as const
export const ledgerGroup = z.enum(ledgerGroups)
export type LedgerGroup = z.infer<typeof ledgerGroup>

/** Sums of a workspace's settled requests. Days are UTC, of a request's start, both bounds included. */
export const usageQuestion = z.object({
  workspace_id: z.string(),
  agent_id: z.string().nullable(),
  session_id: z.string().nullable(),
  from_day: z.string().nullable(),
  to_day: z.string().nullable(),
  /** In this order. Empty: one sum of all. */
  group_by: z.array(ledgerGroup),
  /** Groups behind this one; null: from the first. */
  after: z.array(z.string()).nullable(),
  limit: z.int().positive().max(2000),
})
export type UsageQuestion = z.infer<typeof usageQuestion>

/** By key, ascending. */
export const usageGroups = z.object({ groups: z.array(z.object({ key: z.array(z.string()), ...metered })) })
export type UsageGroups = z.infer<typeof usageGroups>
