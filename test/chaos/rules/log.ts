/** What a client has seen never changes, disappears or moves; a stream shows the list without gaps. */
import { isDeepStrictEqual } from 'node:util'
import type { Say } from '../checker.ts'
import type { SeenEvent, SessionEvidence } from '../evidence.ts'

export function checkLog({ lists, streams, finalList }: SessionEvidence, say: Say): void {
  const final = new Map(finalList.map((event, at) => [event.id, { event, at }]))
  if (final.size !== finalList.length) say('log', 'the list has an event twice')
  for (const [n, seen] of [...lists, ...streams].entries()) {
    const where = n < lists.length ? `listing ${n + 1}` : `stream ${n - lists.length + 1}`
    for (const event of seen) {
      const kept = final.get(event.id)?.event
      if (kept === undefined) say('log', `${where}: ${event.type} ${event.id} is listed no more`)
      else if (!isSame(event, kept)) say('log', `${where}: ${event.type} ${event.id} has changed`)
    }
  }
  for (const [n, list] of lists.entries())
    checkOrder(list.filter(isPlaced), { final, from: 0 }, (what) => say('log', `listing ${n + 1}: ${what}`))
  for (const [n, stream] of streams.entries()) {
    const placed = stream.filter(isPlaced)
    const from = final.get(placed[0]?.id ?? '')?.at ?? 0
    checkOrder(placed, { final, from }, (what) => say('log', `stream ${n + 1}: ${what}`))
  }
}

/** A waiting input takes its place, and its time, later. */
function isPlaced(event: SeenEvent): boolean {
  return typeof event.processed_at === 'string'
}

function isSame(seen: SeenEvent, kept: SeenEvent): boolean {
  return isDeepStrictEqual(isPlaced(seen) ? seen : { ...seen, processed_at: kept.processed_at }, kept)
}

interface Places {
  readonly final: ReadonlyMap<string, { readonly at: number }>
  readonly from: number
}

/** Each event stands in the final list right behind the one before it. */
function checkOrder(events: readonly SeenEvent[], { final, from }: Places, say: (what: string) => void): void {
  const wrong = events.findIndex(({ id }, n) => (final.get(id)?.at ?? from + n) !== from + n)
  const event = events[wrong]
  if (event === undefined) return
  say(
    `${event.type} ${event.id} was seen in place ${from + wrong + 1} and is now in place ${(final.get(event.id)?.at ?? -1) + 1}`,
  )
}
