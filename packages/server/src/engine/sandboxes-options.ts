/** What those who hold sandboxes need of those who use them. */
import type { SessionRow } from '../store/session-log.ts'
import type { Loss } from './held-sandbox.ts'
import type { RunnerItem } from './runner-connection.ts'
import type { SandboxHost } from './sandbox-host.ts'
import type { WarmSandbox } from './warm-sandbox.ts'

export interface SandboxesOptions {
  receive(item: RunnerItem, host: SandboxHost): boolean
  /** A sandbox could not be made, or is gone: to be told to all who live in it. */
  lost(loss: Loss): Promise<void>
  /** The runner's connection broke: stream events may have been lost. */
  interrupted(sessionId: string): void
  /** A sandbox that waited for a session like this one, which has it from then on. */
  claim(row: SessionRow, epoch: number): Promise<WarmSandbox | undefined>
}
