import { createRoute } from '@hono/zod-openapi'
import { booleanQuery, limitQuery, pageOf, pageQuery } from '@berth/protocol/api/page'
import { idText } from '@berth/protocol/api/text'
import {
  createCredentialBody,
  credential,
  credentialDeleted,
  credentialValidation,
  updateCredentialBody,
} from '@berth/protocol/api/vault-credential'
import { z } from 'zod'
import { type ListRequest, toPage, toWindow } from '../domain/page.ts'
import { toWireCredential } from '../domain/vault-credential.ts'
import type { AddRoutes } from './context.ts'
import { answers, jsonBody, security } from './route.ts'

const inVault = z.object({ vault_id: idText })
const params = inVault.extend({ credential_id: idText })
const common = { tags: ['Vaults'], security }
const all = '/v1/vaults/{vault_id}/credentials'
const one = `${all}/{credential_id}` as const

const create = createRoute({
  ...common,
  method: 'post',
  path: all,
  request: { params: inVault, body: jsonBody(createCredentialBody) },
  responses: answers(credential, 'The credential. Its secrets are in no answer.'),
})

const list = createRoute({
  ...common,
  method: 'get',
  path: all,
  request: {
    params: inVault,
    query: z.object({
      limit: limitQuery({ default: 20, max: 100 }),
      page: pageQuery,
      include_archived: booleanQuery,
    }),
  },
  responses: answers(pageOf(credential), 'Credentials of the vault, newest first.'),
})

const retrieve = createRoute({
  ...common,
  method: 'get',
  path: one,
  request: { params },
  responses: answers(credential, 'The credential.'),
})

const update = createRoute({
  ...common,
  method: 'post',
  path: one,
  request: { params, body: jsonBody(updateCredentialBody) },
  responses: answers(credential, 'The credential. It holds for the next request of every session that has the vault.'),
})

const archive = createRoute({
  ...common,
  method: 'post',
  path: `${one}/archive`,
  request: { params },
  responses: answers(credential, 'The credential; its secrets are gone, and another one may be for the same.'),
})

const remove = createRoute({
  ...common,
  method: 'delete',
  path: one,
  request: { params },
  responses: answers(credentialDeleted, 'It is gone.'),
})

const validate = createRoute({
  ...common,
  method: 'post',
  path: `${one}/mcp_oauth_validate`,
  request: { params },
  responses: answers(credentialValidation, 'What came of trying the credential at its MCP server.'),
})

export const addVaultCredentials: AddRoutes = (app, { store, engine }) => {
  app.openapi(create, async (c) => {
    const key = { workspaceId: c.get('workspaceId'), vaultId: c.req.valid('param').vault_id }
    const stored = await engine.vaults.createCredential({ ...key, body: c.req.valid('json') }, c.get('once'))
    return c.json(toWireCredential(stored), 200)
  })

  app.openapi(list, async (c) => {
    const { limit, page, include_archived: includeArchived } = c.req.valid('query')
    const key = { workspaceId: c.get('workspaceId'), vaultId: c.req.valid('param').vault_id }
    const name = `${key.workspaceId}/vaults/${key.vaultId}/credentials`
    const request: ListRequest = { list: name, order: 'desc', limit, page }
    const rows = await store.listCredentials({ ...key, includeArchived, window: toWindow(request) })
    return c.json(toPage(request, rows, toWireCredential), 200)
  })

  app.openapi(retrieve, async (c) => {
    const { vault_id: vaultId, credential_id: id } = c.req.valid('param')
    const key = { workspaceId: c.get('workspaceId'), vaultId, id }
    return c.json(toWireCredential(await store.getCredential(key)), 200)
  })

  app.openapi(update, async (c) => {
    const { vault_id: vaultId, credential_id: id } = c.req.valid('param')
    const key = { workspaceId: c.get('workspaceId'), vaultId, id }
    const stored = await engine.vaults.updateCredential({ ...key, body: c.req.valid('json') }, c.get('once'))
    return c.json(toWireCredential(stored), 200)
  })

  app.openapi(archive, async (c) => {
    const { vault_id: vaultId, credential_id: id } = c.req.valid('param')
    const key = { workspaceId: c.get('workspaceId'), vaultId, id }
    return c.json(toWireCredential(await engine.vaults.archiveCredential(key, c.get('once'))), 200)
  })

  app.openapi(remove, async (c) => {
    const { vault_id: vaultId, credential_id: id } = c.req.valid('param')
    await engine.vaults.deleteCredential({ workspaceId: c.get('workspaceId'), vaultId, id })
    return c.json({ id, type: 'vault_credential_deleted' as const }, 200)
  })

  app.openapi(validate, async (c) => {
    const { vault_id: vaultId, credential_id: id } = c.req.valid('param')
    const key = { workspaceId: c.get('workspaceId'), vaultId, id }
    return c.json(await engine.vaults.validate(key, c.req.raw.signal), 200)
  })
}
