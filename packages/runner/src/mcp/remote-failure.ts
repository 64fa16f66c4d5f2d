import type { Report } from '@berth/protocol/link'

export type FailureKind = (Report & { type: 'mcp_failure' })['kind']

/** Longest text of a failure, in characters. */
const MAX_DETAIL = 1_000

/** A remote server cannot be reached, does not let us in, or does not speak as it should. Its message is printable. */
export class RemoteFailure extends Error {
  readonly kind: FailureKind

  constructor(kind: FailureKind, message: string) {
    super(printable(message))
    this.name = 'RemoteFailure'
    this.kind = kind
  }
}

/** What a stranger has said, so that it can be shown: one line, bounded. */
export function printable(text: string): string {
  return text
    .slice(0, MAX_DETAIL)
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim()
}
