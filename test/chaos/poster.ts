/** Makes a POST, under its key or marked as a repeat, until it is answered, whatever dies meanwhile, and notes every answer. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventSendParams } from '@anthropic-ai/sdk/resources/beta/sessions/events'
import { z } from 'zod'
import type { TestBerth } from '../harness/test-berth.ts'
import type { Post } from './evidence.ts'
import { exchange } from './exchange.ts'
import type { SessionRecord } from './recorder.ts'

export interface Manner {
  readonly abandonAfterMs: number | null
  readonly isRepeated: boolean
  /** Without a key; each further try says that it is one. */
  readonly isMarked: boolean
}

const accepted = z.object({ data: z.array(z.object({ id: z.string() })) })
const AGAIN_MS = 100

/** Answers whether the event was accepted. */
export async function post(
  berth: TestBerth,
  session: Pick<SessionRecord, 'id' | 'posts'>,
  what: { post: Omit<Post, 'answers'>; event: EventSendParams['events'][number]; manner: Manner; signal: AbortSignal },
): Promise<boolean> {
  const { manner, signal } = what
  const noted: Post = { ...what.post, answers: [] }
  session.posts.push(noted)
  const body = JSON.stringify({ events: [what.event] })
  let { abandonAfterMs } = manner
  for (let left = manner.isRepeated ? 2 : 1, tries = 0; left > 0; tries++) {
    const limit = abandonAfterMs === null ? signal : AbortSignal.any([signal, AbortSignal.timeout(abandonAfterMs)])
    abandonAfterMs = null
    const name: Record<string, string> = manner.isMarked
      ? { 'x-stainless-retry-count': String(tries) }
      : { 'idempotency-key': noted.key }
    const answer = await tryOnce(berth, { sessionId: session.id, name, body }, limit)
    signal.throwIfAborted()
    if (answer === undefined) {
      await sleep(AGAIN_MS, undefined, { signal })
      continue
    }
    noted.answers.push(answer)
    left -= 1
  }
  return noted.answers[0]?.status === 200
}

/** undefined: no answer, or a fault; the next try may find another. */
async function tryOnce(
  berth: TestBerth,
  { sessionId, name, body }: { sessionId: string; name: Record<string, string>; body: string },
  signal: AbortSignal,
): Promise<Post['answers'][number] | undefined> {
  try {
    const answer = await exchange(berth.server, {
      path: `/v1/sessions/${sessionId}/events`,
      headers: name,
      body,
      signal,
    })
    if (answer.status >= 500) return undefined
    const ids = answer.status === 200 ? accepted.parse(JSON.parse(answer.body)).data.map(({ id }) => id) : []
    return { status: answer.status, ids }
  } catch {
    return undefined
  }
}
