/**
 * An answer that the gateway gives by itself, in the error envelope of the Messages API. Its text is the gateway's own or was scrubbed:
 * nothing of the upstream's address, headers or key ever gets in.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly status: number
  readonly type: string
  /** Tells the CLI whether to try again; undefined leaves it to the status. */
  readonly retry: boolean | undefined
  readonly retryAfter: string | undefined

  constructor(status: number, message: string, options: { type?: string; retry?: boolean; retryAfter?: string } = {}) {
    super(message)
    this.status = status
    this.type = options.type ?? typeOf(status)
    this.retry = options.retry ?? (status < 500 && status !== 429 ? false : undefined)
    this.retryAfter = options.retryAfter
  }

  headers(requestId: string): Record<string, string> {
    return {
      'content-type': 'application/json',
      'request-id': requestId,
      ...(this.retry === undefined ? {} : { 'x-should-retry': String(this.retry) }),
      ...(this.retryAfter === undefined ? {} : { 'retry-after': this.retryAfter }),
    }
  }

  body(requestId: string): string {
    return JSON.stringify({
      type: 'error',
      error: { type: this.type, message: this.message },
      request_id: requestId,
    })
  }
}

function typeOf(status: number): string {
  switch (status) {
    case 401:
      return 'authentication_error'
    case 402:
      return 'billing_error'
    case 403:
      return 'permission_error'
    case 404:
      return 'not_found_error'
    case 413:
      return 'request_too_large'
    case 429:
      return 'rate_limit_error'
    case 503:
    case 529:
      return 'overloaded_error'
    case 504:
      return 'timeout_error'
    default:
      return status >= 500 ? 'api_error' : 'invalid_request_error'
  }
}
