/** The HTTP application: what happens to every request, and the resources, one file each. */
import { OpenAPIHono } from '@hono/zod-openapi'
import { BerthError } from '@berth/protocol'
import { createMiddleware } from 'hono/factory'
import { addAgents } from './agents.ts'
import { authenticate } from './auth.ts'
import { readBody } from './body.ts'
import type { AddRoutes, App, AppEnv, HttpDeps } from './context.ts'
import { addCheckpoints } from './checkpoints.ts'
import { addEnvironments } from './environments.ts'
import { answerError } from './errors.ts'
import { exactlyOnce } from './exactly-once.ts'
import { addHealth } from './health.ts'
import { toInvalidRequest } from './issues.ts'
import { addKeys } from './keys.ts'
import { methodsByPath } from './methods.ts'
import { addOpenapi } from './openapi.ts'
import { checkOrigin } from './origin.ts'
import { checkRequestLine } from './request-line.ts'
import { requestId } from './request-id.ts'
import { addSdkMessages } from './sdk-messages.ts'
import { addSessionEgress } from './session-egress.ts'
import { addSessionEvents } from './session-events.ts'
import { addSessionFiles } from './session-files.ts'
import { addSessionPorts } from './session-ports.ts'
import { addSessions } from './sessions.ts'
import { addUsage } from './usage.ts'
import { addVaultCredentials } from './vault-credentials.ts'
import { addVaults } from './vaults.ts'
import { missingPart } from './unsupported.ts'

const READ_WITHIN_MS = 120_000

/** Routes that ask for a key, and no others. */
const guarded = ['/v1/*', '/berth/*']

const resources: readonly AddRoutes[] = [
  addAgents,
  addEnvironments,
  addSessions,
  addSessionEvents,
  addSdkMessages,
  addCheckpoints,
  addSessionFiles,
  addSessionPorts,
  addSessionEgress,
  addKeys,
  addUsage,
  addVaults,
  addVaultCredentials,
]

export function createApp(deps: HttpDeps): App {
  const app: App = new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (!result.success)
        throw toInvalidRequest(result.error.issues, result.target === 'json' ? 'body' : result.target)
    },
  })
  app.onError((error, c) => answerError(c, error, deps.logger))
  app.use(requestId(deps))
  app.use(endHeadAnswers)
  app.use(cutUnread(deps.config.readWithinMs ?? READ_WITHIN_MS))
  app.use(checkRequestLine)
  // Probes come from wherever the operator's machinery runs, and learn nothing.
  addHealth(app, deps)
  app.use(checkOrigin(deps.config))
  addOpenapi(app, deps)
  app.use(answerOptions(() => methodsOf()))
  for (const path of guarded) app.use(path, authenticate(deps))
  app.use(readBody)
  for (const path of guarded) app.use(path, exactlyOnce(deps))
  for (const add of resources) add(app, deps)

  let known: ReturnType<typeof methodsByPath> | undefined
  const methodsOf = (): ReturnType<typeof methodsByPath> => (known ??= methodsByPath(app))
  app.notFound((c) => {
    const methods = methodsOf()(c.req.path)
    const missing = missingPart(c.req.path)
    if (missing !== undefined) {
      throw new BerthError('unsupported', `${c.req.method} ${c.req.path}: ${missing} are not supported yet`)
    }
    if (methods === undefined) throw new BerthError('not_found', `${c.req.method} ${c.req.path}: no such route`)
    c.header('allow', methods.join(', '))
    throw new BerthError('method_not_allowed', `${c.req.path}: has no ${c.req.method}, only ${methods.join(', ')}`)
  })
  return app
}

/** HEAD runs the route of GET; nobody reads its answer, so that a stream has to be told. */
const endHeadAnswers = createMiddleware<AppEnv>(async (c, next) => {
  await next()
  // Not waited for: a source may take its time to end.
  if (c.req.method === 'HEAD') c.res.body?.cancel().catch(() => undefined)
})

/** From when there is an answer: nothing of it is kept for a reader that does not read. Comments keep an event stream going. */
function cutUnread(ms: number) {
  return createMiddleware<AppEnv>(async (c, next) => {
    await next()
    c.env.outgoing?.socket?.setTimeout(ms)
  })
}

/** Also what a browser asks before it calls across origins; it carries no key then. */
function answerOptions(methodsOf: () => (path: string) => string[] | undefined) {
  return createMiddleware<AppEnv>(async (c, next) => {
    if (c.req.method !== 'OPTIONS') return next()
    const methods = methodsOf()(c.req.path)
    if (methods === undefined) throw new BerthError('not_found', `${c.req.path}: no such route`)
    c.header('allow', methods.join(', '))
    if (c.req.header('origin') !== undefined) {
      c.header('access-control-allow-methods', methods.join(', '))
      c.header('access-control-allow-headers', c.req.header('access-control-request-headers') ?? '*')
      c.header('access-control-max-age', '600')
    }
    return c.body(null, 204)
  })
}
