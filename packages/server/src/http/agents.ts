import { createRoute } from '@hono/zod-openapi'
import { agent, createAgentBody, updateAgentBody } from '@berth/protocol/api/agent'
import { booleanQuery, limitQuery, pageOf, pageQuery, timeQuery, versionQuery } from '@berth/protocol/api/page'
import { idText } from '@berth/protocol/api/text'
import { z } from 'zod'
import { newAgent, toWireAgent } from '../domain/agent.ts'
import { type ListRequest, toPage, toWindow } from '../domain/page.ts'
import type { AddRoutes } from './context.ts'
import { answers, jsonBody, security } from './route.ts'

const limit = limitQuery({ default: 20, max: 100 })
const params = z.object({ agent_id: idText })
const common = { tags: ['Agents'], security }

const create = createRoute({
  ...common,
  method: 'post',
  path: '/v1/agents',
  request: { body: jsonBody(createAgentBody) },
  responses: answers(agent, 'The agent, at version 1.'),
})

const list = createRoute({
  ...common,
  method: 'get',
  path: '/v1/agents',
  request: {
    query: z.object({
      limit,
      page: pageQuery,
      include_archived: booleanQuery,
      'created_at[gte]': timeQuery,
      'created_at[lte]': timeQuery,
    }),
  },
  responses: answers(pageOf(agent), 'Agents, newest first, each in its latest version.'),
})

const retrieve = createRoute({
  ...common,
  method: 'get',
  path: '/v1/agents/{agent_id}',
  request: { params, query: z.object({ version: versionQuery }) },
  responses: answers(agent, 'The latest version, or the one asked for.'),
})

const update = createRoute({
  ...common,
  method: 'post',
  path: '/v1/agents/{agent_id}',
  request: { params, body: jsonBody(updateAgentBody) },
  responses: answers(agent, 'The new version, or the present one when the update changes nothing.'),
})

const archive = createRoute({
  ...common,
  method: 'post',
  path: '/v1/agents/{agent_id}/archive',
  request: { params },
  responses: answers(agent, 'The agent, archived for good. Sessions that run go on.'),
})

const versions = createRoute({
  ...common,
  method: 'get',
  path: '/v1/agents/{agent_id}/versions',
  request: { params, query: z.object({ limit, page: pageQuery }) },
  responses: answers(pageOf(agent), 'Every version, newest first.'),
})

export const addAgents: AddRoutes = (app, deps) => {
  const { store } = deps
  const now = (): string => deps.clock.now().toISOString()

  app.openapi(create, async (c) => {
    const workspaceId = c.get('workspaceId')
    const body = newAgent(c.req.valid('json'))
    const stored = await store.createAgent({ workspaceId, id: deps.ids.next('agent'), body, now: now() }, c.get('once'))
    return c.json(toWireAgent(stored), 200)
  })

  app.openapi(list, async (c) => {
    const workspaceId = c.get('workspaceId')
    const query = c.req.valid('query')
    const request: ListRequest = {
      list: `${workspaceId}/agents`,
      order: 'desc',
      limit: query.limit,
      page: query.page,
      created: { gte: query['created_at[gte]'], lte: query['created_at[lte]'] },
    }
    const includeArchived = query.include_archived
    const rows = await store.listAgents({ workspaceId, includeArchived, window: toWindow(request) })
    return c.json(toPage(request, rows, toWireAgent), 200)
  })

  app.openapi(retrieve, async (c) => {
    const { version } = c.req.valid('query')
    const id = c.req.valid('param').agent_id
    return c.json(toWireAgent(await store.getAgent({ workspaceId: c.get('workspaceId'), id, version })), 200)
  })

  app.openapi(update, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').agent_id }
    const stored = await store.updateAgent({ ...key, change: c.req.valid('json'), now: now() }, c.get('once'))
    deps.engine.poolsChanged()
    return c.json(toWireAgent(stored), 200)
  })

  app.openapi(archive, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').agent_id }
    const stored = await store.archiveAgent({ ...key, now: now() }, c.get('once'))
    deps.engine.poolsChanged()
    return c.json(toWireAgent(stored), 200)
  })

  app.openapi(versions, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').agent_id }
    const query = c.req.valid('query')
    const list = `${key.workspaceId}/agents/${key.id}/versions`
    const request: ListRequest = { list, order: 'desc', limit: query.limit, page: query.page }
    await store.getAgent(key)
    const rows = await store.listAgentVersions({ ...key, window: toWindow(request) })
    return c.json(toPage(request, rows, toWireAgent), 200)
  })
}
