import type { SDKUserMessage } from '@anthropic-ai/claude-agent-sdk'
import { setImmediate as afterMessages } from 'node:timers/promises'
import { callsOf } from './calls-of.ts'
import type { SessionTranscript } from './session-transcript.ts'

/**
 * Holds messages with results back until their lines stand in the transcript: a call has its result when the conversation has, and what is lost
 * before that is a call of unknown outcome. Messages behind one that waits wait, too.
 */
export class ToldResults {
  #waiting: Promise<boolean> | undefined

  /** Waits until the message may be told. Answers false when it never may, because the CLI has gone without its lines. */
  async mayTell(
    message: SDKUserMessage,
    transcript: SessionTranscript | undefined,
    gone: AbortSignal,
  ): Promise<boolean> {
    const calls = callsOf(message)
    if (calls.length === 0 || transcript === undefined) return true
    const kept = transcript.holds(calls, gone)
    this.#waiting = kept
    try {
      return await kept
    } finally {
      this.#waiting = undefined
    }
  }

  /** Resolves when no message waits. */
  async settled(): Promise<void> {
    while (this.#waiting !== undefined) await this.#waiting.then(() => afterMessages())
  }
}
