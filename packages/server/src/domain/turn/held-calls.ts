/** Calls that outlive the CLI that held them: which can, and what becomes of each. */
import { type Call, hasBegun, isPending, type TurnState } from './turn-state.ts'

export type Fate =
  /** For the client's answer. */
  | 'waits'
  /** It is carried out. */
  | 'runs'
  /** There is nothing to carry out: the agent is told the client's answer. */
  | 'told'
  /** It had begun, and nobody knows how far it came. */
  | 'unknown'

export function fateOf(call: Call): Fate {
  if (isPending(call)) return 'waits'
  if (call.kind === 'custom' || call.gate === 'deny' || call.answer === 'deny') return 'told'
  return hasBegun(call) ? 'unknown' : 'runs'
}

/**
 * Is there a call that the client was, or could have been, asked about and that has not begun? Then all calls of the message outlive the CLI.
 * While the message is still being made nobody knows its calls.
 */
export function canBeHeld(turn: TurnState): boolean {
  if (turn.request !== null) return false
  const asked = Object.values(turn.calls).filter((call) => call.kind === 'custom' || call.gate === 'ask')
  return asked.some((call) => fateOf(call) !== 'unknown')
}

/** What agent and client read in place of a result. */
export const outcome = {
  unknown: 'The agent was interrupted while this call was under way. Its outcome is unknown.',
  didNotRun: 'The agent was interrupted before this call began. It did not run.',
  interrupted: 'The turn was interrupted before this call was answered. It was not carried out.',
  denied: 'The user has denied this call.',
  changed:
    'The MCP server does not have this tool any more as it was when the call was made. The call was not carried out.',
  notAllowed: 'This tool is not allowed in this session.',
} as const
