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

/**
 * What went away: the CLI; everything that ran in the sandbox, which is on its own disk again; the sandbox, whose files were saved when it was
 * put away; or the sandbox and what was written since its last checkpoint. The worst last.
 */
export const losses = ['process', 'sandbox_processes', 'put_away', 'sandbox'] as const
export type Lost = (typeof losses)[number]

export interface Loss {
  readonly lost: Lost
  /** From when the files are that a new sandbox has, RFC 3339; null: it has none. */
  readonly filesAsOf: string | null
}

/** How each begins. */
const beginnings: Readonly<Record<Lost, string>> = {
  process: 'The agent process ended in the middle of the turn and was started again.',
  sandbox_processes: 'The sandbox ended in the middle of the turn and was started again.',
  put_away: 'The sandbox was put away while the turn waited for an answer.',
  sandbox: 'The sandbox was lost in the middle of the turn.',
}

function lossText({ lost, filesAsOf }: Loss): string {
  return `${beginnings[lost]} ${whatIsLeft(lost, filesAsOf)}`
}

function whatIsLeft(lost: Lost, filesAsOf: string | null): string {
  switch (lost) {
    case 'process':
      return 'Files are as they were at that moment.'
    case 'sandbox_processes':
      return 'Files are as they were at that moment, but for those in /tmp, which are gone; no process of before runs any more.'
    case 'put_away':
      return 'This is a new one: the conversation is restored, files are as they were, but for those in /tmp, which are gone, and no process of before runs any more.'
    case 'sandbox':
      return filesAsOf === null
        ? 'This is a new one: the conversation is restored, but files that were written in the old sandbox are gone, and no process of it runs any more.'
        : `This is a new one: the conversation is restored, but files are as they were at ${filesAsOf}, what was written later is gone, and no process of before runs any more.`
    default:
      return lost satisfies never
  }
}

/** The worse of two. */
export function worseLoss(one: Lost, other: Lost): Lost {
  return losses.indexOf(one) < losses.indexOf(other) ? other : one
}

/** A continuation's text, when more has gone than it says. */
export function withLoss(text: string, loss: Loss): string {
  const order = losses.map((lost) => beginnings[lost])
  const lines = text.split('\n')
  const at = lines.findIndex((line) => order.some((beginning) => line.includes(beginning)))
  const told = order.findIndex((beginning) => lines[at]?.includes(beginning))
  if (at < 0 || told >= order.indexOf(beginnings[loss.lost])) return text
  const line = lines[at] ?? ''
  const from = line.indexOf(order[told] ?? '')
  const end = line.indexOf('</system-reminder>', from)
  lines[at] = line.slice(0, from) + lossText(loss) + (end < 0 ? '' : line.slice(end))
  return lines.join('\n')
}

/**
 * What the agent is told when it goes on. It begins with the words that the CLI itself uses for this. The calls are named although the CLI
 * mostly names them too: a call can be under way before its line is in the transcript.
 */
export function continuationText(calls: readonly OpenCall[], loss: Loss): string {
  return ['Continue from where you left off.', '', begunText(calls, loss)].join('\n')
}

/** What was lost, and which calls had begun by then. */
export function begunText(calls: readonly OpenCall[], loss: Loss): string {
  const open = calls.map(({ name, input }) => `- ${name} ${JSON.stringify(input).slice(0, MAX_INPUT_SHOWN)}`)
  const unknown =
    open.length === 0
      ? []
      : [
          'These tool calls had begun and have no result. Their outcome is unknown: check whether they took effect before you repeat them.',
          ...open,
        ]
  return [lossText(loss), ...unknown].join('\n')
}

/** A turn that was cut goes on at once the first time, and after a while, in ms, when it was cut again. */
export function pauseAfter(failures: number): number {
  return failures < 2 ? 0 : 1_000 * 2 ** (failures - 2)
}
