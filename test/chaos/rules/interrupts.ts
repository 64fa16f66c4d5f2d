/** What was interrupted ends: it is not taken up again when it is cut as well. */
import type { Say } from '../checker.ts'
import type { SeenEvent, SessionEvidence } from '../evidence.ts'

export function checkInterrupts({ finalList }: SessionEvidence, say: Say): void {
  for (const [at, { type, id }] of finalList.entries()) {
    if (type !== 'user.interrupt' || !isWorking(finalList.slice(0, at))) continue
    const end = finalList.findIndex((event, n) => n > at && endsTurn(event))
    const rest = finalList.slice(at + 1, end < 0 ? undefined : end)
    const cut = rest.findIndex(isCut)
    const more = cut < 0 ? undefined : rest.slice(cut).find((event) => event.type === 'agent.tool_use')
    if (more !== undefined) say('interrupts', `the turn of ${id} was cut, and then went on with ${more.id}`)
  }
}

/** A model request that is made again is shown as rescheduled, too, and cuts nothing. */
function isCut({ type, error }: SeenEvent): boolean {
  return type === 'session.error' && error?.type === 'unknown_error' && error.retry_status?.type === 'retrying'
}

function isWorking(before: readonly SeenEvent[]): boolean {
  const last = before.findLast(({ type }) => type.startsWith('session.status_'))
  return last !== undefined && last.type !== 'session.status_idle'
}

/** Idle, or the next message. */
function endsTurn({ type }: SeenEvent): boolean {
  return type === 'session.status_idle' || type === 'user.message'
}
