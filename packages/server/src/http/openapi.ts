/** The description of every route added to the app, from the very schemas that check requests. */
import type { AddRoutes, App } from './context.ts'

export const addOpenapi: AddRoutes = (app) => {
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', { type: 'http', scheme: 'bearer' })
  app.openAPIRegistry.registerComponent('securitySchemes', 'apiKey', {
    type: 'apiKey',
    in: 'header',
    name: 'x-api-key',
  })
  app.openAPIRegistry.registerComponent('parameters', 'IdempotencyKey', {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description:
      'Names this request within the workspace for 24 hours: sent again under the same key, it is answered the same and has its effect once. ' +
      'With another path or body the key is refused (409).',
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: String.raw`^[\x21-\x7E]+$` },
  })
  let document: unknown
  app.get('/openapi.json', (c) => c.json((document ??= describe(app))))
}

function describe(app: App): unknown {
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Berth',
      version: '1',
      description: 'Claude Agent SDK agents, hosted. `/v1` is the Managed Agents wire profile, `/berth/v1` is our own.',
      license: { name: 'Apache-2.0' },
    },
  })
  for (const { post } of Object.values(document.paths ?? {})) {
    if (post === undefined) continue
    post.parameters = [...(post.parameters ?? []), { $ref: '#/components/parameters/IdempotencyKey' }]
  }
  return document
}
