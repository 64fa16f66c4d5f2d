/** No accepted input is lost or carried out twice; an answer takes effect at most once. */
import type { Say } from '../checker.ts'
import type { ModelRequest, Post, SeenEvent, SessionEvidence } from '../evidence.ts'
import { textOf } from './text.ts'
import { answersOf, checkCount, isExhausted } from './turn.ts'

export function checkInputs(session: SessionEvidence, requests: readonly ModelRequest[], say: Say): void {
  for (const post of session.posts) checkPost(session.finalList, post, say)
  checkMessages(session, requests, say)
  checkAnswers(session, requests, say)
}

/** All answers under a key are the same; what they say was accepted is listed once, with its time. */
function checkPost(list: readonly SeenEvent[], { key, about, answers }: Post, say: Say): void {
  const [first, ...repeats] = answers
  if (first === undefined) return say('inputs', `POST ${key} (${about}) was never answered`)
  for (const { status, ids } of repeats) {
    if (status !== first.status || ids.join() !== first.ids.join()) {
      say('inputs', `POST ${key} was answered ${first.status} ${first.ids.join()}, then ${status} ${ids.join()}`)
    }
  }
  for (const id of first.ids) {
    const listed = list.filter((event) => event.id === id)
    if (listed.length !== 1) say('inputs', `${about}: ${id} was accepted and is listed ${listed.length} times`)
    else if (typeof listed[0]?.processed_at !== 'string') say('inputs', `${about}: ${id} was never processed`)
  }
}

interface Message {
  readonly prompt: string
  /** Position in the list, and that of the next message or the end. */
  readonly from: number
  readonly to: number
}

function messagesOf({ posts, finalList }: SessionEvidence): Message[] {
  const prompts = new Map(
    posts
      .filter(({ kind }) => kind === 'message')
      .flatMap((post) => (post.answers[0]?.ids ?? []).map((id) => [id, post.about])),
  )
  const places = finalList.flatMap((event, at) => {
    const prompt = prompts.get(event.id)
    return prompt === undefined ? [] : [{ prompt, from: at }]
  })
  return places.map((place, n) => ({ ...place, to: places[n + 1]?.from ?? finalList.length }))
}

/** Each is answered, once, in a conversation that has it once; or the list says that it was cut or given up. */
function checkMessages(session: SessionEvidence, requests: readonly ModelRequest[], say: Say): void {
  /** Messages that perhaps never reached the agent. */
  let givenUp = 0
  const messages = messagesOf(session)
  for (const [n, { prompt, from, to }] of messages.entries()) {
    const turn = session.finalList.slice(from, to)
    // One that was still waiting takes its place right behind the interrupt.
    const isInterrupted = session.finalList.slice(Math.max(0, from - 1), to).some(isInterrupt)
    const isGivenUp = turn.some(isExhausted) || isInterrupted
    const { done, cuts } = answersOf(prompt, turn)
    if (done.length === 0 && !isGivenUp) say('inputs', `${prompt}: was neither answered nor given up, nor interrupted`)
    if (done.length > 1 + cuts) say('inputs', `${prompt}: was answered ${done.length} times, cut ${cuts} times`)
    if (done.length > 0 && !requests.some((request) => request.prompt === prompt)) {
      say('inputs', `${prompt}: was answered without a request`)
    }
    if (isGivenUp) givenUp += 1
    for (const event of done)
      checkCount(event, { expected: n + 1, givenUp }, (what) => say('inputs', `${prompt}: ${what}`))
  }
  const listed = new Set(messages.map(({ prompt }) => prompt))
  for (const event of session.finalList.filter(({ type }) => type === 'user.message')) {
    const prompt = textOf(event).split('\n')[0] ?? ''
    if (!listed.has(prompt)) say('inputs', `${prompt}: is listed as ${event.id}, which no answer named`)
  }
}

function isInterrupt({ type }: SeenEvent): boolean {
  return type === 'user.interrupt'
}

/** A call is answered by one event; a custom tool's answer reaches the model unless the turn was cut behind it. */
function checkAnswers({ posts, finalList }: SessionEvidence, requests: readonly ModelRequest[], say: Say): void {
  const answered = new Map<string, number>()
  for (const { tool_use_id, custom_tool_use_id, type } of finalList) {
    if (!type.startsWith('user.')) continue
    const call = tool_use_id ?? custom_tool_use_id
    if (call !== undefined) answered.set(call, (answered.get(call) ?? 0) + 1)
  }
  for (const [call, times] of answered) if (times > 1) say('answers', `${call} is answered ${times} times`)
  for (const post of posts.filter(({ kind }) => kind === 'custom_result')) {
    const id = post.answers[0]?.ids[0]
    const at = finalList.findIndex((event) => event.id === id)
    if (id === undefined || at < 0 || wasCut(finalList.slice(at)) || wasInterrupted(finalList.slice(0, at))) continue
    if (!requests.some(({ results }) => results.includes(`answer to ${post.about}`))) {
      say('answers', `the answer to ${post.about} never reached the model`)
    }
  }
}

/** An interrupt that was under way when the call came ends it all the same. */
function wasInterrupted(before: readonly SeenEvent[]): boolean {
  return before.slice(before.findLastIndex(({ type }) => type === 'user.message') + 1).some(isInterrupt)
}

/** Before the turn is over. */
function wasCut(rest: readonly SeenEvent[]): boolean {
  const end = rest.findIndex(isEnd)
  return rest
    .slice(0, end < 0 ? undefined : end)
    .some(({ type }) => ['session.status_rescheduled', 'session.error', 'user.interrupt'].includes(type))
}

function isEnd({ type, stop_reason }: SeenEvent): boolean {
  return type === 'session.status_idle' && stop_reason?.type !== 'requires_action'
}
