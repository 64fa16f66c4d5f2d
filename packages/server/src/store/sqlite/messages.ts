/** What main thread and store worker post to each other. */
import type { ErrorCode } from '@berth/protocol'
import type { Once } from '../run-once.ts'

export interface WorkerOptions {
  readonly path: string
  readonly role: 'writer' | 'reader'
}

export interface Call {
  readonly id: number
  readonly operation: string
  readonly args: unknown
  readonly once: Once | undefined
}

export type ToWorker = { readonly type: 'call'; readonly call: Call } | { readonly type: 'close' }

/** An error as it crosses the thread: structured clone would drop its class and code. */
export interface Failure {
  readonly code: ErrorCode | undefined
  readonly message: string
  readonly stack: string | undefined
  readonly details: Readonly<Record<string, unknown>> | undefined
}

export type Answer =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly failure: Failure }

export type FromWorker = { readonly type: 'ready' } | { readonly type: 'answers'; readonly answers: readonly Answer[] }
