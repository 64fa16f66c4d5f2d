/**
 * The gateway's control API: HTTP with JSON bodies on a unix socket that only root can open (`<data>/gateway/control.sock`).
 *
 *   GET    /health                     → GatewayHealth
 *   GET    /sessions                   → RoutedSessions     those that have sockets
 *   PUT    /sessions/{id}              SessionRoute → 204   opens (or re-opens, or changes) the session's model socket; idempotent
 *   DELETE /sessions/{id}              → 204                closes it; its ledger stays; idempotent
 *   PUT    /sessions/{id}/budget       BudgetChange → 204   `not_found` where the session has no socket; idempotent
 *   GET    /sessions/{id}/usage        → SessionUsage       zeros for a session it never saw
 *   POST   /usage                      UsageQuestion → UsageGroups   sums over the ledger
 *   GET    /sessions/{id}/egress?limit=[&before=]  → EgressDecisions   newest first; none, and zeros, for a session it never saw
 *   PUT    /vaults/{id}                GatewayVault → 204   holds for the next request of every session that has it; idempotent
 *   DELETE /vaults/{id}                → 204                idempotent
 *   GET    /vaults?limit=[&after=]     → GatewayVaults     which it has
 *   POST   /vaults/{id}/credentials/{cid}/validate → CredentialValidation   `not_found` for one that it does not have
 *   GET    /authority                  → Authority         the certificate of the authority that the gateway ends TLS with
 *   POST   /shutdown                   → 202                stop listening, let running requests end (at most 10 s), exit 0
 */
import { z } from 'zod'
import { canonicalPattern } from './host-pattern.ts'

export const GATEWAY_PROTOCOL = 4

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

/** In no order. */
export const routedSessions = z.object({ sessions: z.array(z.string()) })
export type RoutedSessions = z.infer<typeof routedSessions>

/** What a session may cost. Its running time counts, too: `active_ms` before, and from `active_since` on, RFC 3339. */
export const sessionBudget = z.object({
  max_list_cost: nanoUsd,
  active_ms: z.int().nonnegative(),
  active_since: z.string().nullable(),
})
export type SessionBudget = z.infer<typeof sessionBudget>
export const budgetChange = z.object({ budget: sessionBudget.nullable() })

/** Where a session may go. `limited` without hosts: nowhere. */
export const egressPolicy = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('unrestricted') }),
  z.strictObject({ type: z.literal('limited'), hosts: z.array(canonicalPattern).max(2000) }),
])
export type EgressPolicy = z.infer<typeof egressPolicy>

/** A session's way out: an HTTP proxy on a socket of its own. */
export const egressRoute = z.strictObject({
  socket_path: z.string(),
  /** Host uid that may connect: that of the runner, which forwards to it. */
  owner_uid: z.int(),
  /** Password of the proxy (any user name). Good for this socket alone. */
  credential: z.string().regex(/^[A-Za-z0-9_-]{32,64}$/),
  policy: egressPolicy,
  /** What stands in the sandbox for the secrets of the route's vaults, by `secret_name`. */
  placeholders: z.array(z.strictObject({ secret_name: z.string(), placeholder: z.string().min(16) })).default([]),
})
export type EgressRoute = z.infer<typeof egressRoute>

/** A session's way to its remote MCP servers: `/{name}` on a socket of its own leads to the server of that name. */
export const mcpRoute = z.strictObject({
  socket_path: z.string(),
  /** Host uid that may connect: that of the runner, so that the agent's processes come past its gate alone. */
  owner_uid: z.int(),
  /** Where these servers may be. */
  policy: egressPolicy,
  servers: z.array(z.strictObject({ name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/), url: z.string() })).max(20),
})
export type McpRoute = z.infer<typeof mcpRoute>

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
  /** Absent: the session has no way out. */
  egress: egressRoute.optional(),
  /** Absent: it has no MCP servers. */
  mcp: mcpRoute.optional(),
  /** Whose credentials it has; where several have one for the same, the first. */
  vaults: z.array(z.string()).max(50).default([]),
})
export type SessionRoute = z.infer<typeof sessionRoute>
/** The same as it is written: with what has a default left out. */
export type SessionRouteParams = z.input<typeof sessionRoute>

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
/** Why a request to leave was decided as it was. `allowed` comes with `allow`, all others with `deny`. */
export const egressReasons = [
  'allowed',
  'credential',
  'malformed',
  'method',
  'upgrade',
  'host',
  'port',
  'unresolved',
  'address',
  'server_name',
  'certificate',
  'secret',
  'limit',
  'upload_limit',
  'internal',
] as const
export const egressReason = z.enum(egressReasons)
export type EgressReason = z.infer<typeof egressReason>

export const egressDecision = z.object({
  /** Grows with every decision of the gateway. */
  id: z.int(),
  at: z.string(),
  /**
   * `connect`: a tunnel; `http`: a request that the gateway reads; `tls`: one that it reads inside of a tunnel whose TLS ends in it; `mcp`: one
   * to a remote MCP server.
   */
  protocol: z.enum(['connect', 'http', 'tls', 'mcp']),
  /** As asked for; null where that was no host. */
  host: z.string().nullable(),
  port: z.int().nullable(),
  decision: z.enum(['allow', 'deny']),
  reason: egressReason,
  /** Names of the secrets that went out with it. A body that is being sent may have one decision more for those found in it. */
  credentials: z.array(z.string()).default([]),
})
export type EgressDecision = z.infer<typeof egressDecision>

/** By which sandboxes know the gateway when it speaks for a host. PEM; its key never leaves the gateway's state directory. */
export const authority = z.object({ certificate: z.string() })
export type Authority = z.infer<typeof authority>

const bytes = z.int().nonnegative()
/** What a session's connections to hosts have carried, all together, in all of its sandboxes. */
export const egressTraffic = z.object({ bytes_sent: bytes, bytes_received: bytes })
export type EgressTraffic = z.infer<typeof egressTraffic>

export const egressDecisions = egressTraffic.extend({ session_id: z.string(), decisions: z.array(egressDecision) })
export type EgressDecisions = z.infer<typeof egressDecisions>
