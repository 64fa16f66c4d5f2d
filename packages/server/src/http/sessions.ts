import { createRoute } from '@hono/zod-openapi'
import {
  bidirectionalPageOf,
  booleanQuery,
  limitQuery,
  orderQuery,
  pageQuery,
  timeQuery,
  versionQuery,
} from '@berth/protocol/api/page'
import {
  createSessionBody,
  session,
  sessionDeleted,
  sessionStatus,
  updateSessionBody,
} from '@berth/protocol/api/session'
import { idText } from '@berth/protocol/api/text'
import { z } from 'zod'
import { type ListRequest, toBidirectionalPage, toWindow } from '../domain/page.ts'
import { type StoredSession, toWireSession } from '../domain/session.ts'
import type { AddRoutes } from './context.ts'
import { answers, jsonBody, security } from './route.ts'

const params = z.object({ session_id: idText })
const common = { tags: ['Sessions'], security }

/** One value comes as text, several as a list. */
const statusesQuery = z
  .union([sessionStatus.transform((status) => [status]), z.array(sessionStatus).max(16)])
  .default([])

const listQuery = z.object({
  limit: limitQuery({ default: 20, max: 100 }),
  page: pageQuery,
  order: orderQuery.default('desc'),
  include_archived: booleanQuery,
  agent_id: idText.optional(),
  agent_version: versionQuery,
  deployment_id: idText.optional(),
  memory_store_id: idText.optional(),
  'statuses[]': statusesQuery,
  statuses: statusesQuery,
  'created_at[gt]': timeQuery,
  'created_at[gte]': timeQuery,
  'created_at[lt]': timeQuery,
  'created_at[lte]': timeQuery,
})
type ListQuery = z.infer<typeof listQuery>

const create = createRoute({
  ...common,
  method: 'post',
  path: '/v1/sessions',
  request: { body: jsonBody(createSessionBody) },
  responses: answers(session, 'The session; running at once when it came with events.'),
})

const list = createRoute({
  ...common,
  method: 'get',
  path: '/v1/sessions',
  request: { query: listQuery },
  responses: answers(bidirectionalPageOf(session), 'Sessions by creation, newest first unless `order` says otherwise.'),
})

const retrieve = createRoute({
  ...common,
  method: 'get',
  path: '/v1/sessions/{session_id}',
  request: { params },
  responses: answers(session, 'The session.'),
})

const update = createRoute({
  ...common,
  method: 'post',
  path: '/v1/sessions/{session_id}',
  request: { params, body: jsonBody(updateSessionBody) },
  responses: answers(session, 'The session. What changed is an event; it holds from the next turn on.'),
})

const archive = createRoute({
  ...common,
  method: 'post',
  path: '/v1/sessions/{session_id}/archive',
  request: { params },
  responses: answers(session, 'The session, terminated; its history stays. Refused while running.'),
})

const remove = createRoute({
  ...common,
  method: 'delete',
  path: '/v1/sessions/{session_id}',
  request: { params },
  responses: answers(sessionDeleted, 'Everything of it is gone. Refused while running.'),
})

export const addSessions: AddRoutes = (app, deps) => {
  const { engine, store } = deps
  const toWire = (row: StoredSession) => toWireSession(row, deps.clock.now())

  app.openapi(create, async (c) => {
    const args = { workspaceId: c.get('workspaceId'), body: c.req.valid('json') }
    return c.json(toWire(await engine.createSession(args, c.get('once'))), 200)
  })

  app.openapi(list, async (c) => {
    const workspaceId = c.get('workspaceId')
    const query = c.req.valid('query')
    const request = toListRequest(workspaceId, query)
    const window = toWindow(request)
    const rows = isOfNoSession(query) ? [] : await store.listSessions({ workspaceId, filter: toFilter(query), window })
    return c.json(toBidirectionalPage(request, rows, toWire), 200)
  })

  app.openapi(retrieve, async (c) => {
    const id = c.req.valid('param').session_id
    return c.json(toWire(await store.getSession({ workspaceId: c.get('workspaceId'), id })), 200)
  })

  app.openapi(update, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), sessionId: c.req.valid('param').session_id }
    return c.json(toWire(await engine.updateSession({ ...key, body: c.req.valid('json') }, c.get('once'))), 200)
  })

  app.openapi(archive, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), sessionId: c.req.valid('param').session_id }
    return c.json(toWire(await engine.archiveSession(key, c.get('once'))), 200)
  })

  app.openapi(remove, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), sessionId: c.req.valid('param').session_id }
    await engine.deleteSession(key)
    return c.json({ id: key.sessionId, type: 'session_deleted' as const }, 200)
  })
}

function toListRequest(workspaceId: string, query: ListQuery): ListRequest {
  return {
    list: `${workspaceId}/sessions`,
    order: query.order,
    limit: query.limit,
    page: query.page,
    created: {
      gt: query['created_at[gt]'],
      gte: query['created_at[gte]'],
      lt: query['created_at[lt]'],
      lte: query['created_at[lte]'],
    },
  }
}

function toFilter(query: ListQuery) {
  return {
    agentId: query.agent_id,
    agentVersion: query.agent_version,
    statuses: [...query['statuses[]'], ...query.statuses],
    includeArchived: query.include_archived,
  }
}

/** No session comes from a deployment or holds a memory store here. */
function isOfNoSession(query: ListQuery): boolean {
  return query.deployment_id !== undefined || query.memory_store_id !== undefined
}
