/** What is under way in a session's present turn: stored with the session, changed only together with its log. */
import { z } from 'zod'
import { stopped } from '@berth/protocol/gateway'
import { losses } from './recovery.ts'
import { sessionError, stopDetails } from '@berth/protocol/api/event'

const call = z.object({
  /** Id of the event that shows the call to clients. */
  eventId: z.string(),
  kind: z.enum(['builtin', 'mcp', 'custom']),
  gate: z.enum(['allow', 'ask', 'deny']),
  /** The CLI has come to this call: it runs, or it is held for an answer. */
  reached: z.boolean(),
  /** The client's answer is in: null while there is none (and for good with gate allow). */
  answer: z.enum(['allow', 'deny', 'result']).nullable(),
  /** The client's event that holds the answer. */
  answerEventId: z.string().nullable().default(null),
  /** It was committed that the call begins, after the client has allowed it or in place of a CLI that is gone. */
  begun: z.boolean().default(false),
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
  /**
   * The CLI that held the calls is gone: once all are answered, they are carried out and told to the agent without it. `lost` is what went
   * with it. Null while a CLI has them.
   */
  parked: z
    .object({ lost: z.enum(losses) })
    .nullable()
    .default(null),
  /** The client, or a limit, has interrupted the turn: should it be cut before the agent has stopped, it does not go on. */
  interrupted: z.boolean().default(false),
  /** A model request was refused for this reason, and with it the turn rests until the reason is gone. */
  paused: stopped.nullable().default(null),
  /** MCP servers that were said to be not there, by kind and name. */
  mcpFailures: z.array(z.string()).default([]),
  failure: sessionError.nullable(),
  refusal: stopDetails.nullable(),
})
export type TurnState = z.infer<typeof turnState>

export const freshTurn: TurnState = {
  request: null,
  cut: null,
  calls: {},
  retrying: false,
  parked: null,
  interrupted: false,
  paused: null,
  mcpFailures: [],
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

/** May the call have had an effect? */
export function hasBegun(call: Call): boolean {
  if (call.gate === 'ask') return call.begun
  return call.begun || (call.reached && !isPending(call) && call.gate !== 'deny')
}

export function pendingToolUseIds(turn: TurnState): string[] {
  return Object.entries(turn.calls).flatMap(([id, call]) => (isPending(call) ? [id] : []))
}

export function pendingEventIds(turn: TurnState): string[] {
  return Object.values(turn.calls)
    .filter(isPending)
    .map((call) => call.eventId)
}

/**
 * Nothing goes on until the client answers: the CLI stands before a call that waits, its message is complete (so that all its calls are
 * known, also those that the CLI has not come to yet) and no other call is running. A turn that was interrupted waits for nothing.
 */
export function isBlocked(turn: TurnState): boolean {
  if (turn.request !== null || turn.interrupted) return false
  const reached = Object.values(turn.calls).filter((call) => call.reached)
  return reached.length > 0 && reached.every(isPending)
}
