/** Says of a run in which a promise was broken what happened around it: enough to understand it without running it again. */
import type { Violation } from './checker.ts'
import type { SeenEvent } from './evidence.ts'
import type { Outcome } from './run.ts'
import { textOf } from './rules/text.ts'

/** Events before and behind a place that a violation names. */
const AROUND = 25
/** Of the server's log, from its end. */
const LOG_LINES = 60
const LOG_WIDTH = 400

export function describeOutcome(outcome: Pick<Outcome, 'violations' | 'evidence' | 'strikes' | 'log'>): string[] {
  const { violations, evidence, strikes, log } = outcome
  const sessions = evidence.sessions.flatMap(({ id, policy, finalList }, n) => {
    const said = violations.filter(({ session }) => session === id)
    if (said.length === 0) return []
    return [
      `session ${n} (${id}, ${policy}):`,
      ...said.map(({ rule, what }) => `  ${rule}: ${what}`),
      ...linesAround(finalList, said).map((line) => `    ${line}`),
    ]
  })
  const other = violations.filter(({ session }) => session === null).map(({ rule, what }) => `${rule}: ${what}`)
  // A session that does not end waits for something that the server knows.
  const isStuck = violations.some(({ rule }) => rule === 'ending')
  const logged = isStuck ? log.trimEnd().split('\n').slice(-LOG_LINES) : []
  return [
    ...other,
    ...sessions,
    'kills:',
    ...strikes.map((strike) => `  ${strike}`),
    ...logged.map((line) => line.slice(0, LOG_WIDTH)),
  ]
}

/** Without a place that is named: the end. */
function linesAround(list: readonly SeenEvent[], violations: readonly Violation[]): string[] {
  const named = list.flatMap((event, at) => (violations.some(({ what }) => names(what, event)) ? [at] : []))
  const places = named.length === 0 ? [list.length - 1] : named
  return list.flatMap((event, at) =>
    places.some((place) => Math.abs(place - at) <= AROUND) ? [lineOf(event, at)] : [],
  )
}

function names(what: string, event: SeenEvent): boolean {
  const prompt = event.type === 'user.message' ? textOf(event).split('\n')[0] : undefined
  return what.includes(event.id) || (prompt !== undefined && prompt !== '' && what.includes(`${prompt}:`))
}

function lineOf(event: SeenEvent, at: number): string {
  const { type, id, processed_at, input, stop_reason, error } = event
  const of = event.tool_use_id ?? event.custom_tool_use_id
  const parts = [
    String(at + 1).padStart(4),
    processed_at?.slice(11, 23) ?? 'waiting',
    type,
    id.slice(-6),
    of === undefined ? '' : `of ${of.slice(-6)}`,
    event.result ?? '',
    stop_reason === null || stop_reason === undefined ? '' : stop_reason.type,
    error === undefined ? '' : JSON.stringify(error),
    input === undefined ? '' : JSON.stringify(input),
    textOf(event).split('\n')[0] ?? '',
  ]
  return parts
    .filter((part) => part !== '')
    .join(' ')
    .slice(0, 200)
}
