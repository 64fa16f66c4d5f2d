/**
 * The one error class and the one table of codes. A code decides the HTTP status, the wire type and whether a client may simply
 * try again; `docs/reference/errors.md` is held to this table by a test.
 */
export const errorCodes = {
  invalid_request: {
    status: 400,
    type: 'invalid_request_error',
    retryable: false,
    meaning: 'The request is malformed or not allowed in the present state; the message names the field.',
  },
  unauthenticated: {
    status: 401,
    type: 'authentication_error',
    retryable: false,
    meaning: 'No API key, or one that does not exist, was revoked or has expired.',
  },
  forbidden: {
    status: 403,
    type: 'permission_error',
    retryable: false,
    meaning:
      'The key is valid but may not do this, for its scope is `read` or it expires; or Host or Origin is not allowed.',
  },
  not_found: { status: 404, type: 'not_found_error', retryable: false, meaning: 'No such object in this workspace.' },
  method_not_allowed: {
    status: 405,
    type: 'invalid_request_error',
    retryable: false,
    meaning: 'The path exists but not with this method.',
  },
  conflict: {
    status: 409,
    type: 'conflict_error',
    retryable: false,
    meaning:
      'The object has changed since the version that the request names, the session has no sandbox now, another credential of the vault is for the same, or the `Idempotency-Key` is another request’s.',
  },
  too_large: {
    status: 413,
    type: 'request_too_large',
    retryable: false,
    meaning: 'The body is over the limit (32 MiB).',
  },
  rate_limited: {
    status: 429,
    type: 'rate_limit_error',
    retryable: true,
    meaning: 'Too many API keys from one address that were not good; `retry-after` says when to come back.',
  },
  internal: {
    status: 500,
    type: 'api_error',
    retryable: true,
    meaning: 'A fault of the server; the log has it under the request id.',
  },
  unsupported: {
    status: 501,
    type: 'api_error',
    retryable: false,
    meaning: 'A part of the wire profile that this server does not have (yet); the message names it.',
  },
  unavailable: {
    status: 503,
    type: 'overloaded_error',
    retryable: true,
    meaning: 'The server is starting, draining or out of capacity.',
  },
  timeout: {
    status: 504,
    type: 'timeout_error',
    retryable: true,
    meaning: 'A part behind the server did not answer in time.',
  },
} as const

export type ErrorCode = keyof typeof errorCodes

const brand = Symbol.for('berth.error')

interface BerthErrorOptions {
  readonly details?: Record<string, unknown>
  readonly retryAfterMs?: number
  readonly cause?: unknown
}

/** `retry-after` of an answer: whole seconds. */
export function retryAfterOf({ retryAfterMs }: BerthError): string | undefined {
  return retryAfterMs === undefined ? undefined : String(Math.max(1, Math.ceil(retryAfterMs / 1000)))
}

/** What every part throws for a caller to see. Anything else is `internal`: logged in full, hidden from the caller. */
export class BerthError extends Error {
  override readonly name = 'BerthError'
  readonly [brand] = true
  readonly code: ErrorCode
  /** `details` of the wire envelope, for example `{ error_code: 'environment_archived' }`. */
  readonly details: Readonly<Record<string, unknown>> | undefined
  /** Whoever tries again sooner tries in vain. */
  readonly retryAfterMs: number | undefined

  constructor(code: ErrorCode, message: string, options: BerthErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.code = code
    this.details = options.details
    this.retryAfterMs = options.retryAfterMs
  }
}

/** True also for an error of another copy of this module. */
export function isBerthError(error: unknown, code?: ErrorCode): error is BerthError {
  return error instanceof Error && brand in error && (code === undefined || ('code' in error && error.code === code))
}
