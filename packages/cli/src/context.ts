import type { EventEmitter } from 'node:events'
import type { Readable, Writable } from 'node:stream'

/** A stream that may be a terminal. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number }
export type Input = Readable & { readonly isTTY?: boolean }

/** The process as the commands see it. `main.ts` makes the real one. */
export interface Context {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdin: Input
  readonly stdout: Output
  readonly stderr: Output
  /** Emits `SIGINT` and `SIGTERM`. */
  readonly signals: EventEmitter
  /** Tells `main.ts` how the process is to end. */
  setExitCode(code: number): void
  /** Ends the process now, without waiting for anything. */
  endNow(code: number): void
}
