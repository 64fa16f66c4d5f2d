/** What is under way in a session's present turn: stored with the session, changed only together with its log. */
import { z } from 'zod'
import { sessionError, stopDetails } from '@berth/protocol/api/event'

const call = z.object({
  /** Id of the event that shows the call to clients. */
  eventId: z.string(),
  kind: z.enum(['builtin', 'custom']),
  gate: z.enum(['allow', 'ask', 'deny']),
  /** The CLI has come to this call: it runs, or it is held for an answer. */
  reached: z.boolean(),
  /** The client's answer is in: null while there is none (and for good with gate allow). */
  answer: z.enum(['allow', 'deny', 'result']).nullable(),
})
export type Call = z.infer<typeof call>

export const turnState = z.object({
  /** The model request under way; null between requests. */
  request: z
    .object({
      messageId: z.string(),
      startEventId: z.string(),
      /** How many `agent.message` and `agent.thinking` events it has given so far. */
      messages: z.int(),
      thoughts: z.int(),
      /** Text blocks that wait to become one `agent.message`. */
      texts: z.array(z.string()),
    })
    .nullable(),
  /**
   * Text blocks of the answer that was just cut; null when none was. They are a message if the agent goes on behind them, and nothing
   * if the request is made again or the turn ends.
   */
  cut: z.array(z.string()).nullable().default(null),
  /** Calls without a result, by the model's id for them. */
  calls: z.record(z.string(), call),
  /** `rescheduling` was shown; the next sign of life shows `running`. */
  retrying: z.boolean(),
  failure: sessionError.nullable(),
  refusal: stopDetails.nullable(),
})
export type TurnState = z.infer<typeof turnState>

export const freshTurn: TurnState = {
  request: null,
  cut: null,
  calls: {},
  retrying: false,
  failure: null,
  refusal: null,
}

export function parseTurn(json: string): TurnState {
  return turnState.parse(JSON.parse(json))
}

/** Does the call wait for the client? */
export function isPending(call: Call): boolean {
  return call.answer === null && (call.kind === 'custom' || call.gate === 'ask')
}

export function pendingEventIds(turn: TurnState): string[] {
  return Object.values(turn.calls)
    .filter(isPending)
    .map((call) => call.eventId)
}

/**
 * Nothing goes on until the client answers: the CLI stands before a call that waits, its message is complete (so that all its calls are
 * known, also those that the CLI has not come to yet) and no other call is running.
 */
export function isBlocked(turn: TurnState): boolean {
  if (turn.request !== null) return false
  const reached = Object.values(turn.calls).filter((call) => call.reached)
  return reached.length > 0 && reached.every(isPending)
}
