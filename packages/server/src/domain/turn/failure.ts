/** What a failed model request or a lost process is called on the wire. */
import type { SessionError, StopDetails } from '@berth/protocol/api/event'
import type { ApiRetry, ResultMessage } from './sdk-message.ts'

type ErrorType =
  | 'unknown_error'
  | 'model_overloaded_error'
  | 'model_rate_limited_error'
  | 'model_request_failed_error'
  | 'billing_error'
  | 'tool_use_limit_reached_error'
type RetryStatus = SessionError['retry_status']['type']

export function sessionFailure(type: ErrorType, message: string, retryStatus: RetryStatus): SessionError {
  return { type, message, retry_status: { type: retryStatus } }
}

export function retryFailure(retry: ApiRetry): SessionError {
  const status = retry.error_status ?? null
  const attempt =
    retry.attempt === undefined || retry.attempt === null
      ? ''
      : ` (try ${retry.attempt} of ${retry.max_retries ?? '?'})`
  const cause = status === null ? 'did not get through' : `was answered with status ${status}`
  return sessionFailure(
    errorType(retry.error ?? '', status),
    `a model request ${cause}; it is tried again${attempt}`,
    'retrying',
  )
}

/** Of the text that the CLI puts in place of an answer, and of what it calls the error. */
export function requestFailure(kind: string, text: string, status: number | null = null): SessionError {
  return sessionFailure(errorType(kind, status ?? statusIn(text)), text, 'exhausted')
}

/** undefined: the turn ended well, or was interrupted by the client. */
export function resultFailure(result: ResultMessage): SessionError | undefined {
  if (!result.is_error) return undefined
  const reason = result.terminal_reason ?? ''
  if (reason.startsWith('aborted')) return undefined
  if (result.subtype === 'error_max_turns') {
    return sessionFailure('tool_use_limit_reached_error', 'the turn was ended by its limit max_turns', 'exhausted')
  }
  const text = result.result ?? (result.errors ?? []).map(String).join('; ')
  if (isRequestFailure(result)) return requestFailure('', text, result.api_error_status ?? null)
  return sessionFailure('unknown_error', text === '' ? `the turn ended with ${result.subtype}` : text, 'exhausted')
}

/** Did the turn end because a model request has failed? */
export function isRequestFailure(result: ResultMessage): boolean {
  return (result.api_error_status ?? null) !== null || result.terminal_reason === 'api_error'
}

function errorType(kind: string, status: number | null): ErrorType {
  if (kind === 'billing_error') return 'billing_error'
  if (status === 529 || kind === 'overloaded') return 'model_overloaded_error'
  if (status === 429 || kind === 'rate_limit') return 'model_rate_limited_error'
  return 'model_request_failed_error'
}

function statusIn(text: string): number | null {
  const match = /\b([45]\d\d)\b/.exec(text)
  return match?.[1] === undefined ? null : Number(match[1])
}

const categories = ['cyber', 'bio', 'frontier_llm', 'reasoning_extraction', 'general_harms'] as const

export function refusal(category: string | null | undefined, explanation: string | null | undefined): StopDetails {
  const known = categories.find((name) => name === category)
  return { type: 'refusal', category: known ?? null, explanation: explanation ?? null }
}
