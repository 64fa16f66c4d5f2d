import { createRoute } from '@hono/zod-openapi'
import { booleanQuery, limitQuery, pageOf, pageQuery } from '@berth/protocol/api/page'
import { idText } from '@berth/protocol/api/text'
import { createVaultBody, updateVaultBody, vault, vaultDeleted } from '@berth/protocol/api/vault'
import { z } from 'zod'
import { type ListRequest, toPage, toWindow } from '../domain/page.ts'
import { toWireVault } from '../domain/vault.ts'
import type { AddRoutes } from './context.ts'
import { answers, jsonBody, security } from './route.ts'

const params = z.object({ vault_id: idText })
const common = { tags: ['Vaults'], security }

const create = createRoute({
  ...common,
  method: 'post',
  path: '/v1/vaults',
  request: { body: jsonBody(createVaultBody) },
  responses: answers(vault, 'The vault.'),
})

const list = createRoute({
  ...common,
  method: 'get',
  path: '/v1/vaults',
  request: {
    query: z.object({
      limit: limitQuery({ default: 20, max: 100 }),
      page: pageQuery,
      include_archived: booleanQuery,
    }),
  },
  responses: answers(pageOf(vault), 'Vaults, newest first.'),
})

const retrieve = createRoute({
  ...common,
  method: 'get',
  path: '/v1/vaults/{vault_id}',
  request: { params },
  responses: answers(vault, 'The vault.'),
})

const update = createRoute({
  ...common,
  method: 'post',
  path: '/v1/vaults/{vault_id}',
  request: { params, body: jsonBody(updateVaultBody) },
  responses: answers(vault, 'The vault.'),
})

const archive = createRoute({
  ...common,
  method: 'post',
  path: '/v1/vaults/{vault_id}/archive',
  request: { params },
  responses: answers(
    vault,
    'The vault; its credentials are archived, their secrets gone. New sessions cannot have it.',
  ),
})

const remove = createRoute({
  ...common,
  method: 'delete',
  path: '/v1/vaults/{vault_id}',
  request: { params },
  responses: answers(vaultDeleted, 'It is gone, with its credentials.'),
})

export const addVaults: AddRoutes = (app, { store, engine, clock, ids }) => {
  const now = (): string => clock.now().toISOString()

  app.openapi(create, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: ids.next('vlt') }
    return c.json(
      toWireVault(await store.createVault({ ...key, body: c.req.valid('json'), now: now() }, c.get('once'))),
      200,
    )
  })

  app.openapi(list, async (c) => {
    const workspaceId = c.get('workspaceId')
    const { limit, page, include_archived: includeArchived } = c.req.valid('query')
    const request: ListRequest = { list: `${workspaceId}/vaults`, order: 'desc', limit, page }
    const rows = await store.listVaults({ workspaceId, includeArchived, window: toWindow(request) })
    return c.json(toPage(request, rows, toWireVault), 200)
  })

  app.openapi(retrieve, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').vault_id }
    return c.json(toWireVault(await store.getVault(key)), 200)
  })

  app.openapi(update, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').vault_id }
    const change = c.req.valid('json')
    return c.json(toWireVault(await store.updateVault({ ...key, change, now: now() }, c.get('once'))), 200)
  })

  app.openapi(archive, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').vault_id }
    return c.json(toWireVault(await engine.vaults.archiveVault(key, c.get('once'))), 200)
  })

  app.openapi(remove, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), id: c.req.valid('param').vault_id }
    await engine.vaults.deleteVault(key)
    return c.json({ id: key.id, type: 'vault_deleted' as const }, 200)
  })
}
