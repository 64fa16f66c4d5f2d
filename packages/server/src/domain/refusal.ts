/** Refusals that name the field, in the one form that all messages about a request have. */
import { BerthError } from '@berth/protocol'

export function invalid(field: string, reason: string, errorCode?: string): BerthError {
  return new BerthError('invalid_request', `${field}: ${reason}`, detailsOf(errorCode))
}

export function unsupported(field: string, reason: string): BerthError {
  return new BerthError('unsupported', `${field}: ${reason}`)
}

export function notFound(what: string, id: string, errorCode?: string): BerthError {
  return new BerthError('not_found', `${what} ${id} does not exist`, detailsOf(errorCode))
}

function detailsOf(errorCode: string | undefined): { details?: Record<string, unknown> } {
  return errorCode === undefined ? {} : { details: { error_code: errorCode } }
}
