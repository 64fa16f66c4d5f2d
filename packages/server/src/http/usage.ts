/** `/berth/v1/usage` */
import { createRoute } from '@hono/zod-openapi'
import { ledgerGroups } from '@berth/protocol'
import { pageOf } from '@berth/protocol/api/page'
import { usageEntry, usageQuery } from '@berth/protocol/api/usage'
import { z } from 'zod'
import { readCursor, writeCursor } from '../domain/page.ts'
import type { AddRoutes } from './context.ts'
import { answers, security } from './route.ts'

const list = createRoute({
  tags: ['Usage'],
  method: 'get',
  path: '/berth/v1/usage',
  security,
  request: { query: usageQuery },
  responses: answers(
    pageOf(usageEntry),
    'Model requests and sandbox time of the workspace, one entry per group, in the order of day, agent, session and model.',
  ),
})

export const addUsage: AddRoutes = (app, { engine }) => {
  app.openapi(list, async (c) => {
    const workspaceId = c.get('workspaceId')
    const { limit, page, agent_id: agentId, session_id: sessionId, ...query } = c.req.valid('query')
    const wanted = [...query['group_by[]'], ...query.group_by]
    const groupBy = ledgerGroups.filter((group) => wanted.includes(group))
    const days = { fromDay: query['day[gte]'], toDay: query['day[lte]'] }
    const name = JSON.stringify(['usage', workspaceId, agentId, sessionId, days, groupBy])
    const after = page === undefined ? undefined : z.array(z.string()).parse(readCursor(name, page))
    const request = { workspaceId, agentId, sessionId, ...days, groupBy, after, limit: limit + 1 }
    const groups = await engine.usage.list(request)
    const shown = groups.slice(0, limit)
    const last = shown.at(-1)
    const next_page = groups.length > limit && last !== undefined ? writeCursor(name, last.key) : null
    return c.json({ data: shown.map(({ entry }) => entry), next_page }, 200)
  })
}
