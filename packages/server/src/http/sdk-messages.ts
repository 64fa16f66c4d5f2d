/** `/berth/v1/sessions/{id}/sdk_messages`: what the Agent SDK said, unabridged and in order. */
import { createRoute } from '@hono/zod-openapi'
import { booleanQuery, limitQuery, pageOf, pageQuery } from '@berth/protocol/api/page'
import { z } from 'zod'
import { readCursor, writeCursor } from '../domain/page.ts'
import { invalid } from '../domain/refusal.ts'
import type { Subscription } from '../engine/feed.ts'
import { attach } from './attachment.ts'
import type { AddRoutes, HttpDeps } from './context.ts'
import { eventStream, type ServerSentEvent } from './event-stream.ts'
import { idText } from '@berth/protocol/api/text'
import { answers, security } from './route.ts'

const LIMIT = { default: 100, max: 1000 }
const REPLAY_PAGE = 25

const numbered = z
  .object({
    /** Counts the session's messages from 1, without gaps. */
    seq: z.int(),
    message: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'SdkMessage' })
type Numbered = z.infer<typeof numbered>

const list = createRoute({
  method: 'get',
  path: '/berth/v1/sessions/{session_id}/sdk_messages',
  security,
  request: { params: z.object({ session_id: idText }), query: z.object({ limit: limitQuery(LIMIT), page: pageQuery }) },
  responses: answers(pageOf(numbered), 'Messages of the Agent SDK, oldest first. Partial messages are not kept.'),
})

const stream = createRoute({
  method: 'get',
  path: '/berth/v1/sessions/{session_id}/sdk_messages/stream',
  security,
  request: { params: z.object({ session_id: idText }), query: z.object({ partial: booleanQuery }) },
  responses: {
    200: {
      description:
        'Messages as they come: `event: sdk_message` with its number as `id`; with `partial=true` also `event: sdk_partial`. `Last-Event-ID: 0` begins with the first message.',
      content: { 'text/event-stream': { schema: z.string() } },
    },
    default: answers(z.never(), '').default,
  },
})

export const addSdkMessages: AddRoutes = (app, deps) => {
  app.openapi(list, async (c) => {
    const sessionId = c.req.valid('param').session_id
    const { limit, page } = c.req.valid('query')
    await deps.store.getSession({ workspaceId: c.var.workspaceId, id: sessionId })
    const name = `sdk_messages of ${sessionId}`
    const after = page === undefined ? 0 : z.int().parse(readCursor(name, page))
    const rows = await read(deps, sessionId, after, limit + 1)
    const data = rows.slice(0, limit)
    const last = data.at(-1)
    const more = rows.length > limit && last !== undefined
    return c.json({ data, next_page: more ? writeCursor(name, last.seq) : null }, 200)
  })
  app.openapi(stream, async (c) => {
    const sessionId = c.req.valid('param').session_id
    const { partial } = c.req.valid('query')
    const kinds = ['sdk_message', 'event', ...(partial ? ['sdk_partial' as const] : [])] as const
    const subscription = deps.engine.subscribe(sessionId, kinds)
    try {
      const session = await deps.store.getSession({ workspaceId: c.var.workspaceId, id: sessionId })
      const from = toSeq(c.req.header('last-event-id'), session.last_sdk_seq)
      const isOver = session.status === 'terminated'
      const messages = streamMessages({ deps, sessionId, subscription, from, partial, isOver })
      return eventStream(messages, attach(c, deps.keys, subscription))
    } catch (error) {
      subscription[Symbol.dispose]()
      throw error
    }
  })
}

function toSeq(header: string | undefined, last: number): number {
  if (header === undefined) return last
  if (!/^\d{1,15}$/.test(header)) throw invalid('Last-Event-ID', 'must be the number of a message')
  if (Number(header) > last) throw invalid('Last-Event-ID', `the session's last message is ${last}`)
  return Number(header)
}

async function read(deps: HttpDeps, sessionId: string, after: number, limit: number): Promise<Numbered[]> {
  const rows = await deps.store.listSdkMessages({ sessionId, after, limit })
  return rows.map(({ seq, body }) => numbered.parse({ seq, message: JSON.parse(body) }))
}

interface Streaming {
  readonly deps: HttpDeps
  readonly sessionId: string
  readonly subscription: Subscription
  readonly from: number
  readonly partial: boolean
  readonly isOver: boolean
}

async function* streamMessages(given: Streaming): AsyncGenerator<ServerSentEvent> {
  const { subscription } = given
  let last = given.from
  for (;;) {
    const page = await read(given.deps, given.sessionId, last, REPLAY_PAGE)
    for (const { seq, message } of page) {
      if (subscription.end === 'closed' || subscription.end === 'overrun') return
      last = seq
      yield { event: 'sdk_message', id: String(seq), data: message }
    }
    if (page.length < REPLAY_PAGE) break
  }
  if (given.isOver) return
  for await (const item of subscription) {
    if (item.kind === 'sdk_message' && item.seq > last) {
      last = item.seq
      yield { event: 'sdk_message', id: String(item.seq), data: item.message }
    } else if (item.kind === 'sdk_partial' && given.partial) {
      yield { event: 'sdk_partial', data: item.message }
    } else if (item.kind === 'event' && item.event.type === 'session.status_terminated') return
  }
}
