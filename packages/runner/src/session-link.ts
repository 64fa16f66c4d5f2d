import type { Report } from '@berth/protocol/link'

/** A session's way to the server. */
export interface SessionLink {
  /** Sends a report for certain; answers its number. */
  readonly report: (body: Report) => number
  /** Sends a partial message if it can. */
  readonly delta: (message: Record<string, unknown>) => void
  /** Resolves when that report is committed. */
  readonly acknowledged: (seq: number, signal: AbortSignal) => Promise<void>
  /** Resolves when more reports may be made. */
  readonly room: (signal: AbortSignal) => Promise<void>
}
