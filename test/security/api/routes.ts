/** The routes of the application as it was put together: whoever adds one has it attacked too. */
import type { TestServer } from '../../../packages/server/test/serve-app.ts'

export interface Route {
  readonly method: string
  /** As it is written, with `:name` for what is put in: `/v1/agents/:agent_id`. */
  readonly path: string
}

/** Routes that anybody may ask, without a key. */
const open = new Set(['GET /healthz', 'GET /readyz', 'GET /openapi.json'])

export const nameOf = ({ method, path }: Route): string => `${method} ${path}`

/** All that ask for a key. */
export function guardedRoutes({ app }: TestServer): Route[] {
  const routes = new Map<string, Route>()
  for (const { method, path } of app.routes) {
    const route = { method, path }
    if (method !== 'ALL' && !open.has(nameOf(route))) routes.set(nameOf(route), route)
  }
  if (routes.size < 30) throw new Error('the routes of the application were not found')
  return [...routes.values()]
}

export function paramsOf({ path }: Route): string[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => name)
}
