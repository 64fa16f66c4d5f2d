import { createRoute } from '@hono/zod-openapi'
import { BerthError } from '@berth/protocol'
import { apiKey, type ApiKey, createdKey, createKeyBody } from '@berth/protocol/api/key'
import { limitQuery, pageOf, pageQuery } from '@berth/protocol/api/page'
import { idText } from '@berth/protocol/api/text'
import { z } from 'zod'
import { newKey } from '../domain/key.ts'
import { type ListRequest, toPage, toWindow } from '../domain/page.ts'
import { invalid } from '../domain/refusal.ts'
import type { StoredKey } from '../store/keys.ts'
import type { AddRoutes } from './context.ts'
import { answers, jsonBody, security } from './route.ts'

const common = { tags: ['API keys'], security }

const create = createRoute({
  ...common,
  method: 'post',
  path: '/berth/v1/keys',
  request: { body: jsonBody(createKeyBody) },
  responses: answers(createdKey, 'The key itself is in this answer and nowhere else, ever.'),
})

const list = createRoute({
  ...common,
  method: 'get',
  path: '/berth/v1/keys',
  request: { query: z.object({ limit: limitQuery({ default: 20, max: 100 }), page: pageQuery }) },
  responses: answers(pageOf(apiKey), 'Keys of the workspace, revoked ones included, newest first.'),
})

const revoke = createRoute({
  ...common,
  method: 'post',
  path: '/berth/v1/keys/{key_id}/revoke',
  request: { params: z.object({ key_id: idText }) },
  responses: answers(apiKey, 'The key; the next request with it is refused.'),
})

export const addKeys: AddRoutes = (app, deps) => {
  const { store } = deps
  const now = (): string => deps.clock.now().toISOString()

  app.openapi(create, async (c) => {
    const { key, hash, hint } = newKey()
    const { name, scope, expires_at: expiresAt } = c.req.valid('json')
    checkExpiry(expiresAt, c.var.keyExpiresAt, now())
    const workspaceId = c.get('workspaceId')
    const id = deps.ids.next('apikey')
    const stored = await store.createKey(
      { workspaceId, id, name, hash, hint, scope, expiresAt, now: now() },
      c.get('once'),
    )
    if (stored.id !== id) throw madeBefore(stored.id)
    c.header('cache-control', 'no-store')
    return c.json({ ...toWireKey(stored), key }, 200)
  })

  app.openapi(list, async (c) => {
    const workspaceId = c.get('workspaceId')
    const { limit, page } = c.req.valid('query')
    const request: ListRequest = { list: `${workspaceId}/keys`, order: 'desc', limit, page }
    const rows = await store.listKeys({ workspaceId, window: toWindow(request) })
    return c.json(toPage(request, rows, toWireKey), 200)
  })

  app.openapi(revoke, async (c) => {
    const workspaceId = c.get('workspaceId')
    const stored = await store.revokeKey({ workspaceId, id: c.req.valid('param').key_id, now: now() }, c.get('once'))
    return c.json(toWireKey(stored), 200)
  })
}

/** Times are UTC to the millisecond, so that their text compares like them. */
function checkExpiry(expiresAt: string | null, own: string | null, now: string): void {
  if (expiresAt !== null && expiresAt <= now) throw invalid('expires_at', 'must be in the future')
  if (own !== null && (expiresAt === null || expiresAt > own)) {
    throw new BerthError(
      'forbidden',
      `expires_at: a key that expires makes none that outlasts it; its own end is ${own}`,
    )
  }
}

/** The request has made its key when it came first, and no copy of that answer exists. */
function madeBefore(id: string): BerthError {
  return new BerthError(
    'conflict',
    `the API key ${id} was made by this very request, and only its first answer held the key: revoke it and make another`,
    { details: { error_code: 'api_key_already_created', id } },
  )
}

function toWireKey({ ord: _ord, ...stored }: StoredKey): ApiKey {
  return { ...stored, type: 'api_key' }
}
