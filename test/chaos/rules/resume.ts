/** Who resumes by `Last-Event-ID` sees every event once, in its place, none missing. */
import type { Say } from '../checker.ts'
import type { SeenEvent, SessionEvidence } from '../evidence.ts'

export function checkResumed({ resumed, finalList }: SessionEvidence, say: Say): void {
  const places = new Map(finalList.map(({ id }, at) => [id, at]))
  let next: number | undefined
  for (const [n, { after, events }] of resumed.entries()) {
    const placed = events.filter(isPlaced)
    const [first] = placed
    if (first === undefined) continue
    const at = places.get(first.id)
    // An input has two copies by one id: who names it gets what came after the first, even what was seen before the second.
    const mayRepeat = finalList.find(({ id }) => id === after)?.type === 'user.message'
    if (at !== undefined && next !== undefined && (at > next || (at < next && !mayRepeat))) {
      say('resume', `connection ${n + 1} begins with ${first.type} ${first.id} in place ${at + 1}, not ${next + 1}`)
    }
    const wrong = placed.findIndex(({ id }, index) => places.get(id) !== (at ?? 0) + index)
    const stray = placed[wrong]
    if (stray !== undefined) say('resume', `connection ${n + 1}: ${stray.type} ${stray.id} is out of place or repeated`)
    next = (places.get(placed.at(-1)?.id ?? '') ?? -1) + 1
  }
  const missing = finalList[next ?? 0]
  if (missing !== undefined) say('resume', `${missing.type} ${missing.id} and what follows never came`)
}

function isPlaced(event: SeenEvent): boolean {
  return typeof event.processed_at === 'string'
}
