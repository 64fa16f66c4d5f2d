/** `/berth/v1/sessions/{id}/egress`: what was decided about its way out. */
import { createRoute } from '@hono/zod-openapi'
import { egressPage } from '@berth/protocol/api/egress'
import { limitQuery, pageQuery } from '@berth/protocol/api/page'
import { idText } from '@berth/protocol/api/text'
import { z } from 'zod'
import { readCursor, writeCursor } from '../domain/page.ts'
import type { AddRoutes } from './context.ts'
import { answers, security } from './route.ts'

const LIMIT = { default: 100, max: 1000 }

const list = createRoute({
  method: 'get',
  path: '/berth/v1/sessions/{session_id}/egress',
  security,
  request: { params: z.object({ session_id: idText }), query: z.object({ limit: limitQuery(LIMIT), page: pageQuery }) },
  responses: answers(
    egressPage,
    'What was decided when the session wanted to leave, newest first, and how much went by it.',
  ),
})

export const addSessionEgress: AddRoutes = (app, deps) => {
  app.openapi(list, async (c) => {
    const sessionId = c.req.valid('param').session_id
    const { limit, page } = c.req.valid('query')
    await deps.store.getSession({ workspaceId: c.var.workspaceId, id: sessionId })
    const name = `egress of ${sessionId}`
    const before = page === undefined ? undefined : z.int().parse(readCursor(name, page))
    const {
      decisions: found,
      bytes_sent,
      bytes_received,
    } = await deps.engine.egress(sessionId, { before, limit: limit + 1 })
    const shown = found.slice(0, limit)
    const last = shown.at(-1)
    const data = shown.map(({ at, ...decision }) => ({
      ...decision,
      type: 'egress_decision' as const,
      session_id: sessionId,
      created_at: at,
    }))
    const hasMore = found.length > limit && last !== undefined
    const next_page = hasMore ? writeCursor(name, last.id) : null
    return c.json({ data, next_page, bytes_sent, bytes_received }, 200)
  })
}
