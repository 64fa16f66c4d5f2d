/** What the server knows of a sandbox that it holds. */
import type { SandboxRef } from '@berth/sandbox'
import type { SessionRow } from '../store/session-log.ts'
import type { SandboxHost } from './sandbox-host.ts'

export interface HeldSandbox {
  readonly host: SandboxHost
  /** Of those who live in it. */
  readonly groupId: string
  /** Who live in it, by their ids. What its runner says of others is nobody's. */
  readonly sessions: Map<string, SessionRow>
  /** By session: JSON of the placeholders that its way out knows. */
  readonly placeholders: Map<string, string>
  /** undefined: it is being made. */
  ref: SandboxRef | undefined
  /** On the clock that never goes back, like the next. */
  renewedAt: number
  /** undefined: connected. */
  silentSince: number | undefined
  hasConnected: boolean
  /** Its loss is being dealt with. */
  ending: Promise<void> | undefined
  hasEnded: boolean
}

export function heldFromNow(host: SandboxHost, groupId: string, rows: readonly SessionRow[]): HeldSandbox {
  const now = performance.now()
  return {
    host,
    groupId,
    sessions: new Map(rows.map((row) => [row.id, row])),
    placeholders: new Map(),
    ref: undefined,
    renewedAt: now,
    silentSince: now,
    hasConnected: false,
    ending: undefined,
    hasEnded: false,
  }
}

export interface Loss {
  readonly groupId: string
  readonly sandboxId: string
  readonly why: string
  /** `kept`: on its disk, for when a session needs the sandbox again. */
  readonly files: 'kept' | 'gone'
  /** The sessions were told before that their sandbox was lost; what is new is that their files are, too. */
  readonly isCounted: boolean
}
