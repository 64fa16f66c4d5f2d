import { createRoute } from '@hono/zod-openapi'
import { z } from 'zod'
import type { AddRoutes } from './context.ts'

const common = { method: 'get' as const, tags: ['Health'], security: [] }

const health = createRoute({
  ...common,
  path: '/healthz',
  responses: {
    200: {
      description: 'The process is up.',
      content: { 'application/json': { schema: z.object({ status: z.literal('ok') }) } },
    },
  },
})

const ready = createRoute({
  ...common,
  path: '/readyz',
  responses: {
    200: {
      description: 'It takes work.',
      content: { 'application/json': { schema: z.object({ status: z.literal('ready') }) } },
    },
    503: {
      description: 'It does not take work now.',
      content: {
        'application/json': { schema: z.object({ status: z.literal('not_ready'), reasons: z.array(z.string()) }) },
      },
    },
  },
})

export const addHealth: AddRoutes = (app, { engine }) => {
  app.openapi(health, (c) => c.json({ status: 'ok' as const }, 200))

  app.openapi(ready, (c) => {
    const reasons = engine.notReady()
    if (reasons.length > 0) return c.json({ status: 'not_ready' as const, reasons }, 503)
    return c.json({ status: 'ready' as const }, 200)
  })
}
