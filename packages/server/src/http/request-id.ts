import type { MiddlewareHandler } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { AppEnv, HttpDeps } from './context.ts'

/** Gives every request an id, which its answer, its error and its log lines carry. */
export function requestId(deps: HttpDeps): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    const id = deps.ids.next('req')
    c.set('requestId', id)
    const start = deps.clock.now().getTime()
    await next().catch(asError)
    // An answer that is repeated has the id that it had at first.
    c.header('request-id', c.get('requestId'))
    const ms = deps.clock.now().getTime() - start
    deps.logger.debug({ requestId: id, method: c.req.method, path: c.req.path, status: c.res.status, ms }, 'request')
  })
}

/** What is thrown without being an error would leave without an envelope. */
function asError(cause: unknown): never {
  throw cause instanceof Error ? cause : new Error('something that is no error was thrown', { cause })
}
