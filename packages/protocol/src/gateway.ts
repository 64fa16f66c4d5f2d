/**
 * The gateway's control API: HTTP with JSON bodies on a unix socket that only root can open (`<data>/gateway/control.sock`).
 *
 *   GET    /health                     → GatewayHealth
 *   PUT    /sessions/{id}              SessionRoute → 204   opens (or re-opens, or changes) the session's model socket; idempotent
 *   DELETE /sessions/{id}              → 204                closes it; its ledger stays; idempotent
 *   GET    /sessions/{id}/usage        → SessionUsage       zeros for a session it never saw
 *   POST   /shutdown                   → 202                stop listening, let running requests end (at most 10 s), exit 0
 */
import { z } from 'zod'

export const GATEWAY_PROTOCOL = 1

export const gatewayHealth = z.object({
  protocol: z.int(),
  version: z.string(),
  pid: z.int(),
  /** sha-256 of the settings of the way to the model, its key among them: a server whose settings differ replaces the gateway. */
  upstream: z.string(),
  sessions: z.int(),
})
export type GatewayHealth = z.infer<typeof gatewayHealth>

/** One session's way to the model. Kept in the gateway's state directory, so that a restarted gateway reopens it by itself. */
export const sessionRoute = z.object({
  workspace_id: z.string(),
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

const tokens = z.int().nonnegative()
export const modelUsage = z.object({
  model: z.string(),
  requests: tokens,
  input_tokens: tokens,
  output_tokens: tokens,
  cache_read_input_tokens: tokens,
  cache_creation_5m_input_tokens: tokens,
  cache_creation_1h_input_tokens: tokens,
  web_search_requests: tokens,
})
export type ModelUsage = z.infer<typeof modelUsage>

/** Sums over the session's ledger. A request is in them before the last byte of its answer reaches the sandbox. */
export const sessionUsage = z.object({ session_id: z.string(), models: z.array(modelUsage) })
export type SessionUsage = z.infer<typeof sessionUsage>
