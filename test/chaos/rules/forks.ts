/** A fork has the log of the other up to its place, and goes on from there by itself. */
import type { Say } from '../checker.ts'
import type { ForkEvidence, SeenEvent, SessionEvidence } from '../evidence.ts'
import { textOf } from './text.ts'
import { answersOf, checkCount, isExhausted } from './turn.ts'

export function checkForks(session: SessionEvidence, say: Say): void {
  for (const fork of session.forks) checkFork(session.finalList, fork, (what) => say('forks', `${fork.id}: ${what}`))
}

function checkFork(
  list: readonly SeenEvent[],
  { at, about, copied, finalList }: ForkEvidence,
  say: (what: string) => void,
): void {
  const source = list.slice(0, list.findIndex(({ id }) => id === at) + 1)
  const wrong = source.findIndex((event, n) => shapeOf(event) !== shapeOf(copied[n]))
  if (wrong >= 0) say(`event ${wrong + 1} is ${shapeOf(copied[wrong])}, in the other session ${shapeOf(source[wrong])}`)
  if (copied.length > source.length) say(`has ${copied.length} events, the other session had ${source.length}`)
  const moved = copied.findIndex(({ id }, n) => finalList[n]?.id !== id)
  if (moved >= 0) say(`event ${moved + 1} has changed its place`)
  const turn = finalList.slice(copied.length)
  const inputs = turn.filter(({ type }) => type === 'user.message')
  if (inputs.length !== 1) say(`${inputs.length} messages are listed behind the fork, 1 was accepted`)
  checkAnswer({ prompt: about, before: source, turn }, say)
}

interface Asked {
  readonly prompt: string
  readonly before: readonly SeenEvent[]
  readonly turn: readonly SeenEvent[]
}

function checkAnswer({ prompt, before, turn }: Asked, say: (what: string) => void): void {
  const { done, cuts } = answersOf(prompt, turn)
  if (done.length === 0 && !turn.some(isExhausted)) say('its message was neither answered nor given up')
  if (done.length > 1 + cuts) say(`its message was answered ${done.length} times, cut ${cuts} times`)
  const expected = before.filter(({ type }) => type === 'user.message').length + 1
  // What was interrupted or given up may never have reached the agent.
  const givenUp = before.filter((event) => event.type === 'user.interrupt' || isExhausted(event)).length
  for (const event of done) checkCount(event, { expected, givenUp }, say)
}

function shapeOf(event: SeenEvent | undefined): string {
  return event === undefined ? 'missing' : `${event.type} ${event.processed_at ?? ''} ${textOf(event)}`
}
