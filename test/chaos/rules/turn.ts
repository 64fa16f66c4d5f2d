/** What a turn's events say of its message. */
import type { SeenEvent } from '../evidence.ts'
import { doneText } from '../plan.ts'
import { textOf } from './text.ts'

/** The answers, and how often the turn was cut: each cut may have come behind an answer that the model then gives again. */
export function answersOf(prompt: string, turn: readonly SeenEvent[]): { done: SeenEvent[]; cuts: number } {
  const done = turn.filter((event) => event.type === 'agent.message' && textOf(event).includes(doneText(prompt)))
  return { done, cuts: turn.filter(({ type }) => type === 'session.status_rescheduled').length }
}

export function isExhausted({ type, error }: SeenEvent): boolean {
  return type === 'session.error' && error?.retry_status?.type === 'exhausted'
}

/** The model counts the prompts before it: one handed over twice is one too many, one that was lost one too few. */
export function checkCount(
  answer: SeenEvent,
  { expected, givenUp }: { expected: number; givenUp: number },
  say: (what: string) => void,
): void {
  const counted = Number(/after (\d+) prompts/.exec(textOf(answer))?.[1])
  if (counted > expected) say(`the conversation has ${counted} prompts, ${expected} were accepted so far`)
  // What was given up may never have reached the agent.
  if (!(counted >= expected - givenUp)) say(`the conversation has ${counted} prompts of ${expected}`)
}
