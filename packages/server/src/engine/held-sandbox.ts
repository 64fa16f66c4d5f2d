/** What the server knows of a sandbox that it holds. */
import type { SandboxHost } from './sandbox-host.ts'

export interface HeldSandbox {
  readonly host: SandboxHost
  readonly sessionId: string
  /** On the clock that never goes back, like the next. */
  renewedAt: number
  /** undefined: connected. */
  silentSince: number | undefined
  hasConnected: boolean
  /** Its loss is being dealt with. */
  ending: Promise<void> | undefined
  hasEnded: boolean
}

export function heldFromNow(host: SandboxHost, sessionId: string): HeldSandbox {
  const now = performance.now()
  return {
    host,
    sessionId,
    renewedAt: now,
    silentSince: now,
    hasConnected: false,
    ending: undefined,
    hasEnded: false,
  }
}

export interface Loss {
  readonly sandboxId: string
  readonly why: string
  /** `kept`: on its disk, for when the session needs the sandbox again. */
  readonly files: 'kept' | 'gone'
  /** The session was told before that its sandbox was lost; what is new is that its files are, too. */
  readonly isCounted: boolean
}
