import { setTimeout as sleep } from 'node:timers/promises'
import { APIConnectionError, APIError } from '@anthropic-ai/sdk'
import type { Anthropic } from '@anthropic-ai/sdk'

export type SessionEvent = Anthropic.Beta.Sessions.BetaManagedAgentsSessionEvent
/** What a stream carries: the events of the log, and previews of messages that are still being written. */
export type StreamEvent = Anthropic.Beta.Sessions.BetaManagedAgentsStreamSessionEvents

export interface FollowOptions {
  readonly signal: AbortSignal
  /** Also yield `event_start` and `event_delta` of agent messages. Default false. */
  readonly deltas?: boolean
  /** The connection is gone and will be tried again. */
  readonly onReconnect?: () => void
}

const FIRST_DELAY_MS = 500
const MAX_DELAY_MS = 8_000
/** About 70 s without a server. */
const MAX_FAILURES = 12

/**
 * A session's events from its first one on, in order, then as they come. Each is yielded once; an input that was queued is yielded
 * again when it has been taken up. Ends when the session is terminated or deleted or the signal fires; throws when the server refuses
 * or stays away.
 */
export async function* follow(
  client: Anthropic,
  sessionId: string,
  options: FollowOptions,
): AsyncGenerator<StreamEvent> {
  const isNew = unseen()
  for (let failures = 0; ; failures++) {
    let ended = false
    try {
      for await (const event of oneConnection(client, sessionId, options)) {
        failures = 0
        if ('id' in event && !isNew(event)) continue
        yield event
        ended ||= event.type === 'session.status_terminated' || event.type === 'session.deleted'
      }
    } catch (error) {
      if (options.signal.aborted) return
      if (!mayPass(error) || failures >= MAX_FAILURES) throw error
    }
    if (ended || options.signal.aborted) return
    options.onReconnect?.()
    await sleep(Math.min(FIRST_DELAY_MS * 2 ** failures, MAX_DELAY_MS), undefined, { signal: options.signal }).catch(
      () => undefined,
    )
  }
}

/** The stream is opened before the list is read, so nothing falls between the two. */
async function* oneConnection(
  client: Anthropic,
  sessionId: string,
  options: FollowOptions,
): AsyncGenerator<StreamEvent> {
  const { signal } = options
  const { events } = client.beta.sessions
  const stream = await events.stream(sessionId, options.deltas === true ? { event_deltas: ['agent.message'] } : {}, {
    signal,
  })
  try {
    for await (const event of events.list(sessionId, {}, { signal })) yield event
    yield* stream
  } finally {
    stream.controller.abort()
  }
}

function unseen(): (event: { id: string; processed_at?: string | null }) => boolean {
  const seen = new Map<string, boolean>()
  return ({ id, processed_at }) => {
    const processed = processed_at !== null
    if (seen.get(id) === true || seen.get(id) === processed) return false
    seen.set(id, processed)
    return true
  }
}

/** Worth another try: the connection broke, or the server said that the fault is its own and passing. */
function mayPass(error: unknown): boolean {
  if (error instanceof APIConnectionError) return true
  if (!(error instanceof APIError))
    return error instanceof TypeError || (error instanceof Error && error.name === 'AbortError')
  const status: unknown = error.status
  return typeof status !== 'number' || status >= 500 || status === 408 || status === 409 || status === 429
}
