/** Every turn ends, and never silently. */
import type { Say } from '../checker.ts'
import type { SeenEvent, SessionEvidence } from '../evidence.ts'

export function checkEnding({ status, finalList }: SessionEvidence, say: Say): void {
  if (status !== 'idle') say('ending', `is ${status} long after the last kill`)
  let from = 0
  for (const [at, event] of finalList.entries()) {
    if (event.type !== 'session.status_idle') continue
    checkIdle(event, finalList.slice(from, at), say)
    from = at + 1
  }
  const last = finalList.findLast(({ type }) => type.startsWith('session.status_'))
  if (last?.type === 'session.status_idle' && last.stop_reason?.type === 'requires_action') {
    say('ending', 'still waits for an answer')
  }
  checkCalls(finalList, say)
}

function checkIdle(idle: SeenEvent, turn: readonly SeenEvent[], say: Say): void {
  const reason = idle.stop_reason?.type
  switch (reason) {
    case 'end_turn':
    case 'requires_action':
      return
    case 'retries_exhausted':
      if (!turn.some(({ type }) => type === 'session.error'))
        say('ending', `${idle.id}: retries_exhausted without a session.error`)
      return
    case undefined:
    default:
      say('ending', `${idle.id}: idle because of ${reason ?? 'nothing'}`)
  }
}

/** Each call has one result, its own or one that says why there is none. */
function checkCalls(list: readonly SeenEvent[], say: Say): void {
  const results = new Map<string, number>()
  for (const { type, tool_use_id, custom_tool_use_id } of list) {
    if (type !== 'agent.tool_result' && type !== 'user.custom_tool_result') continue
    const call = tool_use_id ?? custom_tool_use_id ?? ''
    results.set(call, (results.get(call) ?? 0) + 1)
  }
  for (const { type, id } of list) {
    if (type !== 'agent.tool_use' && type !== 'agent.custom_tool_use') continue
    const count = results.get(id) ?? 0
    if (count === 0) say('ending', `the call ${id} has no result`)
    if (count > 1 && type === 'agent.tool_use') say('ending', `the call ${id} has ${count} results`)
  }
}
