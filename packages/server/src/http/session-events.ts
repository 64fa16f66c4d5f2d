/** `/v1/sessions/{id}/events`: send, list, stream. */
import { createRoute } from '@hono/zod-openapi'
import { BerthError } from '@berth/protocol'
import { sendEventsBody } from '@berth/protocol/api/client-event'
import { type DeltaType, deltaTypes, sessionEvent, type SessionEvent } from '@berth/protocol/api/event'
import { limitQuery, orderQuery, pageOf, pageQuery, timeQuery } from '@berth/protocol/api/page'
import { z } from 'zod'
import { readCursor, writeCursor } from '../domain/page.ts'
import { invalid } from '../domain/refusal.ts'
import type { EventPage } from '../store/events.ts'
import { attach } from './attachment.ts'
import type { AddRoutes, HttpDeps } from './context.ts'
import { eventStream } from './event-stream.ts'
import { streamFrames } from './session-stream.ts'
import { idText } from '@berth/protocol/api/text'
import { answers, jsonBody, security } from './route.ts'

const EVENTS_LIMIT = { default: 1000, max: 1000 }
const REPLAY_PAGE = 25

const list = (values: z.ZodType<string[]>) => values
/** A list comes as `name[]=a&name[]=b`, or from some clients as `name=a&name=b`. */
const texts = z.preprocess(
  (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]),
  z.array(z.string().max(256)).max(100),
)

const listQuery = z.object({
  limit: limitQuery(EVENTS_LIMIT),
  page: pageQuery,
  order: orderQuery.default('asc'),
  'types[]': list(texts),
  types: list(texts),
  'created_at[gte]': timeQuery,
  'created_at[gt]': timeQuery,
  'created_at[lte]': timeQuery,
  'created_at[lt]': timeQuery,
})
type ListQuery = z.infer<typeof listQuery>

const streamQuery = z.object({ 'event_deltas[]': list(texts), event_deltas: list(texts) })

const send = createRoute({
  method: 'post',
  path: '/v1/sessions/{session_id}/events',
  security,
  request: { params: z.object({ session_id: idText }), body: jsonBody(sendEventsBody) },
  responses: answers(z.object({ data: z.array(sessionEvent) }), 'The stored events, in the order of the request.'),
})

const listRoute = createRoute({
  method: 'get',
  path: '/v1/sessions/{session_id}/events',
  security,
  request: { params: z.object({ session_id: idText }), query: listQuery },
  responses: answers(pageOf(sessionEvent), 'Events in the order of processing; inputs that wait come last.'),
})

const stream = createRoute({
  method: 'get',
  path: '/v1/sessions/{session_id}/events/stream',
  security,
  request: { params: z.object({ session_id: idText }), query: streamQuery },
  responses: {
    200: {
      description: 'Events as they happen. `Last-Event-ID` replays what came after that event.',
      content: { 'text/event-stream': { schema: z.string() } },
    },
    default: answers(z.never(), '').default,
  },
})

export const addSessionEvents: AddRoutes = (app, deps) => {
  app.openapi(send, async (c) => {
    const { events } = c.req.valid('json')
    const key = { workspaceId: c.var.workspaceId, sessionId: c.req.valid('param').session_id }
    return c.json({ data: await deps.engine.sendEvents({ ...key, events }, c.get('once')) }, 200)
  })
  app.openapi(listRoute, async (c) => {
    const sessionId = c.req.valid('param').session_id
    await deps.store.getSession({ workspaceId: c.var.workspaceId, id: sessionId })
    return c.json(await listPage(deps, sessionId, c.req.valid('query')), 200)
  })
  app.openapi(stream, async (c) => {
    const sessionId = c.req.valid('param').session_id
    const query = c.req.valid('query')
    const deltas = toDeltaTypes([...query['event_deltas[]'], ...query.event_deltas])
    // Attached before anything is looked up: what happens from here on is seen, by the replay or live.
    const subscription = deps.engine.subscribe(sessionId, deltas.size === 0 ? ['event'] : ['event', 'preview'])
    try {
      const session = await deps.store.getSession({ workspaceId: c.var.workspaceId, id: sessionId })
      const lastEventId = c.req.header('last-event-id')
      const isOver = session.status === 'terminated'
      const replay = lastEventId === undefined ? [] : await openReplay(deps, sessionId, lastEventId)
      return eventStream(streamFrames({ subscription, replay, deltas, isOver }), attach(c, deps.keys, subscription))
    } catch (error) {
      subscription[Symbol.dispose]()
      throw error
    }
  })
}

function toDeltaTypes(values: readonly string[]): ReadonlySet<string> {
  const unknown = values.find((value) => !deltaTypes.some((type: DeltaType) => type === value))
  if (unknown !== undefined) throw invalid('event_deltas', `${unknown} is not one of ${deltaTypes.join(', ')}`)
  return new Set(values)
}

const cursor = z.object({ order: orderQuery, head: z.int(), after: z.int(), time: z.string().nullable() })

async function listPage(
  deps: HttpDeps,
  sessionId: string,
  query: ListQuery,
): Promise<{ data: SessionEvent[]; next_page: string | null }> {
  const name = `events of ${sessionId}`
  const from = query.page === undefined ? undefined : cursor.parse(readCursor(name, query.page))
  if (from !== undefined && from.order !== query.order) {
    throw invalid('page', `belongs to the order ${from.order}, not ${query.order}`)
  }
  const bounds = {
    processedFrom: query['created_at[gte]'] ?? null,
    processedAfter: query['created_at[gt]'] ?? null,
    processedUntil: query['created_at[lte]'] ?? null,
    processedBefore: query['created_at[lt]'] ?? null,
  }
  if (typeof from?.time === 'string' && !isWithin(from.time, bounds)) {
    throw invalid('page', 'stands outside of the created_at bounds')
  }
  const types = [...query['types[]'], ...query.types]
  const page: EventPage = await deps.store.listEvents({
    sessionId,
    order: query.order,
    limit: query.limit,
    types: types.length === 0 ? null : types,
    ...bounds,
    head: from?.head ?? null,
    after: from?.after ?? null,
  })
  const { after, head } = page
  const time = page.events.at(-1)?.processed_at ?? null
  const next = after === null ? null : writeCursor(name, { order: query.order, head, after, time })
  return { data: page.events, next_page: next }
}

type Bounds = Record<'processedFrom' | 'processedAfter' | 'processedUntil' | 'processedBefore', string | null>

function isWithin(time: string, bounds: Bounds): boolean {
  const { processedFrom, processedAfter, processedUntil, processedBefore } = bounds
  return (
    (processedFrom === null || time >= processedFrom) &&
    (processedAfter === null || time > processedAfter) &&
    (processedUntil === null || time <= processedUntil) &&
    (processedBefore === null || time < processedBefore)
  )
}

/** What came after that event, read as it is asked for: a reader that stops reading costs no more than a page. */
async function openReplay(deps: HttpDeps, sessionId: string, eventId: string): Promise<AsyncIterable<SessionEvent>> {
  const after = await deps.store.findPosition({ sessionId, eventId })
  if (after === undefined) {
    throw new BerthError('invalid_request', `Last-Event-ID: no event ${eventId} in this session`)
  }
  return replayFrom(deps, sessionId, after)
}

async function* replayFrom(deps: HttpDeps, sessionId: string, position: number): AsyncGenerator<SessionEvent> {
  for (let after = position; ;) {
    const page = await deps.store.listEventsAfter({ sessionId, after, limit: REPLAY_PAGE })
    for (const { event, place } of page) {
      after = place
      yield event
    }
    if (page.length < REPLAY_PAGE) return
  }
}
