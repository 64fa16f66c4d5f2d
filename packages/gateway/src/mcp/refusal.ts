import { EgressRefusal } from '../egress/refusal.ts'
import { Refusal } from '../refusal.ts'

/**
 * `refused`: the session may not go there, or the request is none; `connection`: there is no whole answer; `authentication`: the server
 * wants another token, or there is none that could be sent; `limit`: too much.
 */
export type McpFault = 'connection' | 'authentication' | 'refused' | 'limit'

/** What the runner is told in the place of a server's answer. Names the server's host, never the rest of its URL. */
export class McpRefusal extends Error {
  readonly status: number
  readonly fault: McpFault

  constructor(status: number, fault: McpFault, message: string) {
    super(message)
    this.status = status
    this.fault = fault
  }

  get headers(): Record<string, string> {
    return { 'content-type': 'application/json', 'x-berth-mcp-error': this.fault, connection: 'close' }
  }

  get body(): string {
    return JSON.stringify({ type: 'error', error: { type: this.fault, message: this.message } })
  }
}

export function needsToken(message: string): McpRefusal {
  return new McpRefusal(401, 'authentication', message)
}

export function noConnection(message: string): McpRefusal {
  return new McpRefusal(502, 'connection', message)
}

/** Undefined: it is none of these, but a fault of ours. */
export function asMcpRefusal(error: unknown): McpRefusal | undefined {
  if (error instanceof McpRefusal) return error
  if (error instanceof Refusal) return new McpRefusal(error.status, 'limit', error.message)
  return error instanceof EgressRefusal
    ? new McpRefusal(error.status, faults[error.reason] ?? 'refused', error.message)
    : undefined
}

/** All other reasons say that the session may not go there, or has not asked as it should. */
const faults: Partial<Record<EgressRefusal['reason'], McpFault>> = {
  unreachable: 'connection',
  unresolved: 'connection',
  certificate: 'connection',
  internal: 'connection',
  limit: 'limit',
  upload_limit: 'limit',
}
