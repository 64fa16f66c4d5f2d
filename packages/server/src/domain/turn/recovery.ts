/** What becomes of a turn that was cut: its CLI, runner or sandbox went away while it was under way. */

/** As the environment says: go on from where it stood, begin the turn again, or leave it. */
export type InterruptedTurnPolicy = 'continue' | 'rerun' | 'stop'

export type RecoveryPlan =
  /** The agent had not taken the input: the same input again is no repetition. */
  | 'redeliver'
  /** The agent goes on with what it had done, told what is unknown. */
  | 'continue'
  /** The transcript is cut back to before the input, and the input is handed over again. */
  | 'rerun'
  /** By policy, the turn ends here. */
  | 'stop'
  | 'give_up'

/** This many cuts of one turn in a row, and it is given up. */
export const MAX_FAILURES = 3

export interface CutTurn {
  readonly policy: InterruptedTurnPolicy
  /** Cuts of this turn, this one included. */
  readonly failures: number
  /** The input's line stands in the shipped transcript. */
  readonly isTaken: boolean
}

export function planRecovery({ policy, failures, isTaken }: CutTurn): RecoveryPlan {
  if (failures >= MAX_FAILURES) return 'give_up'
  if (!isTaken) return 'redeliver'
  return policy
}

export interface OpenCall {
  readonly name: string
  readonly input: Readonly<Record<string, unknown>>
}

const MAX_INPUT_SHOWN = 1_000

/** What went away: the CLI; everything that ran in the sandbox, which is on its own disk again; or the sandbox and its files. */
export type Lost = 'process' | 'sandbox_processes' | 'sandbox'

/** The worst last. */
const losses: Readonly<Record<Lost, string>> = {
  process:
    'The agent process ended in the middle of the turn and was started again. Files are as they were at that moment.',
  sandbox_processes:
    'The sandbox ended in the middle of the turn and was started again. Files are as they were at that moment, but for those in /tmp, which are gone; no process of before runs any more.',
  sandbox:
    'The sandbox was lost in the middle of the turn. This is a new one: the conversation is restored, but files that were written in the old sandbox are gone, and no process of it runs any more.',
}

/** A continuation's text, when more has gone than it says. */
export function withLoss(text: string, lost: Lost): string {
  const order = Object.values(losses)
  const told = order.find((sentence) => text.includes(sentence))
  return told === undefined || order.indexOf(told) >= order.indexOf(losses[lost])
    ? text
    : text.replace(told, () => losses[lost])
}

/**
 * What the agent is told when it goes on. It begins with the words that the CLI itself uses for this. The calls are named although the CLI
 * mostly names them too: a call can be under way before its line is in the transcript.
 */
export function continuationText(calls: readonly OpenCall[], lost: Lost): string {
  return ['Continue from where you left off.', '', begunText(calls, lost)].join('\n')
}

/** What was lost, and which calls had begun by then. */
export function begunText(calls: readonly OpenCall[], lost: Lost): string {
  const open = calls.map(({ name, input }) => `- ${name} ${JSON.stringify(input).slice(0, MAX_INPUT_SHOWN)}`)
  const unknown =
    open.length === 0
      ? []
      : [
          'These tool calls had begun and have no result. Their outcome is unknown: check whether they took effect before you repeat them.',
          ...open,
        ]
  return [losses[lost], ...unknown].join('\n')
}
