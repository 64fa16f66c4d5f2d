/** Every error leaves in the one envelope, with the header that tells clients whether to try again. */
import { BerthError, errorCodes, isBerthError } from '@berth/protocol'
import { retryAfterOf } from '@berth/protocol/error'
import type { ErrorEnvelope } from '@berth/protocol/api/error'
import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { AppEnv, HttpDeps } from './context.ts'

export function answerError(c: Context<AppEnv>, error: unknown, logger: HttpDeps['logger']): Response {
  const known = toBerthError(error)
  const requestId = c.get('requestId')
  if (known.code === 'internal') logger.error({ requestId, err: error }, 'request failed')
  const { status, type, retryable } = errorCodes[known.code]
  const envelope: ErrorEnvelope = {
    type: 'error',
    error: {
      type,
      message: known.message,
      ...(known.details === undefined ? {} : { details: { ...known.details } }),
    },
    request_id: requestId,
  }
  c.header('x-should-retry', String(retryable))
  c.header('retry-after', retryAfterOf(known))
  // Whoever is to wait has no use for it, and what may have come behind the request on it is not read.
  if (known.code === 'rate_limited') c.header('connection', 'close')
  return c.json(envelope, status)
}

function toBerthError(error: unknown): BerthError {
  if (isBerthError(error)) return error
  if (error instanceof HTTPException && error.status < 500) return new BerthError('invalid_request', error.message)
  return new BerthError('internal', 'internal server error')
}
