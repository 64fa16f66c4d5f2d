/** The judge of a run: evidence in, violations out. It knows no process and no clock. */
import type { Evidence, SessionEvidence } from './evidence.ts'
import { checkEffects } from './rules/effects.ts'
import { checkEnding } from './rules/ending.ts'
import { checkForks } from './rules/forks.ts'
import { checkInputs } from './rules/inputs.ts'
import { checkInterrupts } from './rules/interrupts.ts'
import { checkLog } from './rules/log.ts'
import { checkResumed } from './rules/resume.ts'

export interface Violation {
  readonly rule:
    | 'inputs'
    | 'log'
    | 'sdk_messages'
    | 'effects'
    | 'ending'
    | 'answers'
    | 'interrupts'
    | 'resume'
    | 'forks'
    | 'machine'
  readonly session: string | null
  readonly what: string
}

export type Say = (rule: Violation['rule'], what: string) => void

export function check(evidence: Evidence): Violation[] {
  const violations: Violation[] = []
  for (const session of evidence.sessions) {
    const say: Say = (rule, what) => void violations.push({ rule, session: session.id, what })
    checkInputs(session, evidence.modelRequests, say)
    checkLog(session, say)
    checkNumbers(session, say)
    checkEffects(session, evidence.modelRequests, say)
    checkEnding(session, say)
    checkInterrupts(session, say)
    checkResumed(session, say)
    checkForks(session, say)
  }
  for (const what of evidence.leftovers) violations.push({ rule: 'machine', session: null, what })
  return violations
}

function checkNumbers({ sdkNumbers }: SessionEvidence, say: Say): void {
  const wrong = sdkNumbers.findIndex((number, index) => number !== index + 1)
  if (wrong >= 0) say('sdk_messages', `message ${wrong + 1} has the number ${sdkNumbers[wrong]}`)
}
