import { createRoute } from '@hono/zod-openapi'
import {
  createEnvironmentBody,
  environment,
  environmentDeleted,
  updateEnvironmentBody,
} from '@berth/protocol/api/environment'
import { booleanQuery, limitQuery, pageOf, pageQuery, timeQuery } from '@berth/protocol/api/page'
import { idText } from '@berth/protocol/api/text'
import { z } from 'zod'
import { newEnvironment, toWireEnvironment } from '../domain/environment.ts'
import { type ListRequest, toPage, toWindow } from '../domain/page.ts'
import type { AddRoutes } from './context.ts'
import { answers, jsonBody, security } from './route.ts'

const params = z.object({ environment_id: idText })
const common = { tags: ['Environments'], security }

const create = createRoute({
  ...common,
  method: 'post',
  path: '/v1/environments',
  request: { body: jsonBody(createEnvironmentBody) },
  responses: answers(environment, 'The environment.'),
})

const list = createRoute({
  ...common,
  method: 'get',
  path: '/v1/environments',
  request: {
    query: z.object({
      limit: limitQuery({ default: 20, max: 100 }),
      page: pageQuery,
      include_archived: booleanQuery,
      'created_at[gte]': timeQuery,
      'created_at[lte]': timeQuery,
    }),
  },
  responses: answers(pageOf(environment), 'Environments, newest first.'),
})

const retrieve = createRoute({
  ...common,
  method: 'get',
  path: '/v1/environments/{environment_id}',
  request: { params },
  responses: answers(environment, 'The environment.'),
})

const update = createRoute({
  ...common,
  method: 'post',
  path: '/v1/environments/{environment_id}',
  request: { params, body: jsonBody(updateEnvironmentBody) },
  responses: answers(environment, 'The environment. Sessions that exist keep the configuration they were made with.'),
})

const archive = createRoute({
  ...common,
  method: 'post',
  path: '/v1/environments/{environment_id}/archive',
  request: { params },
  responses: answers(environment, 'The environment; it takes no new sessions.'),
})

const remove = createRoute({
  ...common,
  method: 'delete',
  path: '/v1/environments/{environment_id}',
  request: { params },
  responses: answers(environmentDeleted, 'It is gone. Refused while it has sessions.'),
})

export const addEnvironments: AddRoutes = (app, deps) => {
  const { store } = deps
  const now = (): string => deps.clock.now().toISOString()

  app.openapi(create, async (c) => {
    const workspaceId = c.get('workspaceId')
    const body = newEnvironment(c.req.valid('json'))
    const stored = await store.createEnvironment(
      { workspaceId, id: deps.ids.next('env'), body, now: now() },
      c.get('once'),
    )
    deps.engine.poolsChanged()
    return c.json(toWireEnvironment(stored), 200)
  })

  app.openapi(list, async (c) => {
    const workspaceId = c.get('workspaceId')
    const query = c.req.valid('query')
    const request: ListRequest = {
      list: `${workspaceId}/environments`,
      order: 'desc',
      limit: query.limit,
      page: query.page,
      created: { gte: query['created_at[gte]'], lte: query['created_at[lte]'] },
    }
    const includeArchived = query.include_archived
    const rows = await store.listEnvironments({ workspaceId, includeArchived, window: toWindow(request) })
    return c.json(toPage(request, rows, toWireEnvironment), 200)
  })

  app.openapi(retrieve, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').environment_id }
    return c.json(toWireEnvironment(await store.getEnvironment(key)), 200)
  })

  app.openapi(update, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').environment_id }
    const stored = await store.updateEnvironment({ ...key, change: c.req.valid('json'), now: now() }, c.get('once'))
    deps.engine.poolsChanged()
    return c.json(toWireEnvironment(stored), 200)
  })

  app.openapi(archive, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').environment_id }
    const stored = await store.archiveEnvironment({ ...key, now: now() }, c.get('once'))
    deps.engine.poolsChanged()
    return c.json(toWireEnvironment(stored), 200)
  })

  app.openapi(remove, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').environment_id }
    await store.deleteEnvironment(key)
    deps.engine.poolsChanged()
    return c.json({ id: key.id, type: 'environment_deleted' as const }, 200)
  })
}
