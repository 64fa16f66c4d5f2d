/** `/berth/v1/sessions/{id}/checkpoints` and `…/fork`. */
import { createRoute } from '@hono/zod-openapi'
import { checkpoint, type Checkpoint, forkedSession, forkSessionBody } from '@berth/protocol/api/checkpoint'
import { limitQuery, pageOf, pageQuery } from '@berth/protocol/api/page'
import { idText } from '@berth/protocol/api/text'
import { z } from 'zod'
import { toRefused } from '../domain/checkpoint.ts'
import { type ListRequest, toPage, toWindow } from '../domain/page.ts'
import { toWireSession } from '../domain/session.ts'
import type { CheckpointSummary } from '../store/checkpoints.ts'
import type { AddRoutes } from './context.ts'
import { answers, jsonBody, security } from './route.ts'

const params = z.object({ session_id: idText })
const LIMIT = { default: 20, max: 100 }

const list = createRoute({
  method: 'get',
  path: '/berth/v1/sessions/{session_id}/checkpoints',
  security,
  request: { params, query: z.object({ limit: limitQuery(LIMIT), page: pageQuery }) },
  responses: answers(pageOf(checkpoint), 'The checkpoints that the session keeps, newest first.'),
})

const take = createRoute({
  method: 'post',
  path: '/berth/v1/sessions/{session_id}/checkpoints',
  security,
  request: { params },
  responses: answers(checkpoint, 'The session’s files as they are now.'),
})

const fork = createRoute({
  method: 'post',
  path: '/berth/v1/sessions/{session_id}/fork',
  security,
  request: { params, body: jsonBody(forkSessionBody) },
  responses: answers(
    forkedSession,
    'A session with the history and the files of that place; both go on by themselves.',
  ),
})

export const addCheckpoints: AddRoutes = (app, deps) => {
  app.openapi(list, async (c) => {
    const sessionId = c.req.valid('param').session_id
    const { workspaceId } = c.var
    const query = c.req.valid('query')
    await deps.store.getSession({ workspaceId, id: sessionId })
    const request: ListRequest = { list: `checkpoints of ${sessionId}`, order: 'desc', ...query }
    const rows = await deps.store.listCheckpoints({ workspaceId, sessionId, window: toWindow(request) })
    return c.json(toPage(request, rows, toWire), 200)
  })
  app.openapi(take, async (c) => {
    const key = { workspaceId: c.var.workspaceId, sessionId: c.req.valid('param').session_id }
    await deps.store.getSession({ workspaceId: key.workspaceId, id: key.sessionId })
    return c.json(toWire(await deps.engine.storage.checkpoint(key)), 200)
  })
  app.openapi(fork, async (c) => {
    const key = { workspaceId: c.var.workspaceId, sessionId: c.req.valid('param').session_id }
    const forked = await deps.engine.storage.fork({ ...key, body: c.req.valid('json') }, c.var.once)
    return c.json(
      {
        session: toWireSession(forked.row, deps.clock.now()),
        checkpoint_id: forked.checkpoint?.id ?? null,
        workspace_as_of: forked.checkpoint?.asOf ?? null,
      },
      200,
    )
  })
}

function toWire(row: CheckpointSummary): Checkpoint {
  return {
    id: row.id,
    type: 'checkpoint',
    session_id: row.session_id,
    created_at: row.created_at,
    cause: row.why,
    entries: row.entries,
    bytes: row.bytes,
    stored_bytes: row.stored_bytes,
    refused: toRefused(row),
    refused_count: row.refused_count,
  }
}
