/** The description of every route added to the app, from the very schemas that check requests. */
import type { AddRoutes } from './context.ts'

export const addOpenapi: AddRoutes = (app) => {
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', { type: 'http', scheme: 'bearer' })
  app.openAPIRegistry.registerComponent('securitySchemes', 'apiKey', {
    type: 'apiKey',
    in: 'header',
    name: 'x-api-key',
  })
  let document: unknown
  app.get('/openapi.json', (c) => {
    document ??= app.getOpenAPI31Document({
      openapi: '3.1.0',
      info: {
        title: 'Berth',
        version: '1',
        description:
          'Claude Agent SDK agents, hosted. `/v1` is the Managed Agents wire profile, `/berth/v1` is our own.',
        license: { name: 'Apache-2.0' },
      },
    })
    return c.json(document)
  })
}
