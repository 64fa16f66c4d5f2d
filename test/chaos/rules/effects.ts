/** No effect is repeated unless the agent was told in between that the outcome of the first try is unknown. */
import type { Say } from '../checker.ts'
import type { ModelRequest, SeenEvent, SessionEvidence } from '../evidence.ts'
import { effectPattern } from '../plan.ts'
import { textOf } from './text.ts'

type Outcome = 'ran' | 'unknown' | 'did not run'

interface Call {
  readonly id: string
  /** Place in the list. */
  readonly at: number
  readonly isCustom: boolean
  readonly outcome: Outcome
}

export function checkEffects(session: SessionEvidence, requests: readonly ModelRequest[], say: Say): void {
  const written = Object.values(session.effects).flat()
  const calls = callsByEffect(session.finalList)
  for (const effect of new Set([...written, ...calls.keys()])) {
    const tries = calls.get(effect) ?? []
    const notices = noticesOf(effect, requests)
    checkTries({ effect, tries: unexplained(session, tries), notices }, say)
    const times = written.filter((line) => line === effect).length
    const possible = tries.filter(({ outcome, isCustom }) => !isCustom && outcome !== 'did not run').length
    if (times > possible)
      say('effects', `${effect} happened ${times} times; ${possible} calls say that they may have run`)
  }
}

/** Where the policy says that a turn that was cut begins anew, so do its calls. */
function unexplained({ policy, finalList }: SessionEvidence, tries: readonly Call[]): Call[] {
  if (policy !== 'rerun') return [...tries]
  return tries.filter(({ at }, n) => {
    const next = tries[n + 1]
    return next === undefined || !finalList.slice(at, next.at).some(({ type }) => type === 'session.status_rescheduled')
  })
}

interface Repeated {
  readonly effect: string
  readonly tries: readonly Call[]
  /** How often the model was told of an unknown outcome of it. */
  readonly notices: number
}

/** Before each try but the first, the one before it did not run, or was said to be unknown. */
function checkTries({ effect, tries, notices }: Repeated, say: Say): void {
  const unsaid = tries.slice(0, -1).filter(({ outcome }) => outcome === 'ran')
  if (unsaid.length > notices) {
    say('effects', `${effect} was asked for again although ${unsaid.map(({ id }) => id).join(', ')} had run`)
  }
}

function callsByEffect(list: readonly SeenEvent[]): Map<string, Call[]> {
  const results = new Map(
    list.filter(({ type }) => type === 'agent.tool_result').map((event) => [event.tool_use_id ?? '', event]),
  )
  const answered = new Set(
    list.flatMap(({ type, custom_tool_use_id }) =>
      type === 'user.custom_tool_result' && custom_tool_use_id !== undefined ? [custom_tool_use_id] : [],
    ),
  )
  const calls = new Map<string, Call[]>()
  const denied = new Set(
    list.flatMap(({ type, tool_use_id, result }) =>
      type === 'user.tool_confirmation' && result === 'deny' && tool_use_id !== undefined ? [tool_use_id] : [],
    ),
  )
  for (const [at, { id, type, input }] of list.entries()) {
    if (type !== 'agent.tool_use' && type !== 'agent.custom_tool_use') continue
    const isCustom = type === 'agent.custom_tool_use'
    const outcome = answered.has(id) ? 'ran' : denied.has(id) ? 'did not run' : outcomeOf(results.get(id))
    for (const effect of new Set(effectsIn(JSON.stringify(input)))) {
      calls.set(effect, [...(calls.get(effect) ?? []), { id, at, isCustom, outcome }])
    }
  }
  return calls
}

function outcomeOf(result: SeenEvent | undefined): Outcome {
  if (result === undefined) return 'unknown'
  if (result.is_error !== true) return 'ran'
  const text = textOf(result)
  if (/outcome is unknown/i.test(text)) return 'unknown'
  return /did not run|not carried out/i.test(text) ? 'did not run' : 'ran'
}

function noticesOf(effect: string, requests: readonly ModelRequest[]): number {
  return requests.filter(({ lastUser }) => /outcome is unknown/i.test(lastUser) && effectsIn(lastUser).includes(effect))
    .length
}

function effectsIn(text: string): readonly string[] {
  return text.match(effectPattern) ?? []
}
