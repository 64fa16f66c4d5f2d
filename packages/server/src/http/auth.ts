/** Every request on the API carries an API key; the key says which workspace it acts in. */
import { BerthError } from '@berth/protocol'
import type { MiddlewareHandler } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { AppEnv, HttpDeps } from './context.ts'
import { sourceOf } from './source.ts'

/** How exactly `last_used_at` is kept. */
const TOUCH_INTERVAL_MS = 60_000
const MAX_KEY_LENGTH = 512
const reading = new Set(['GET', 'HEAD'])

export function authenticate(deps: HttpDeps): MiddlewareHandler<AppEnv> {
  const touching = new Set<string>()
  return createMiddleware<AppEnv>(async (c, next) => {
    const key = presentedKey(c.req.header('authorization'), c.req.header('x-api-key'))
    const found = await deps.check.find(key, sourceOf(c.env.incoming?.socket.remoteAddress))
    if ('fault' in found) throw refused(`the API key ${found.fault}`)
    const { stored } = found
    if (stored.scope === 'read' && !reading.has(c.req.method)) {
      throw new BerthError('forbidden', `${c.req.method}: the scope of the API key is "read", which allows GET alone`)
    }
    const wanted = c.req.header('anthropic-workspace-id')
    if (wanted !== undefined && wanted !== stored.workspace_id) {
      throw new BerthError(
        'forbidden',
        `anthropic-workspace-id: the API key does not belong to ${wanted.slice(0, 128)}`,
      )
    }
    c.set('workspaceId', stored.workspace_id)
    c.set('keyId', stored.id)
    c.set('keyExpiresAt', stored.expires_at)
    touch(deps, touching, stored)
    await next()
    c.header('anthropic-workspace-id', stored.workspace_id)
  })
}

/** The official client sends a bearer token, older ones and curl users `x-api-key`; some send both. */
function presentedKey(authorization: string | undefined, apiKey: string | undefined): string {
  const bearer = authorization === undefined ? undefined : /^Bearer +(\S+)$/i.exec(authorization)?.[1]
  if (authorization !== undefined && bearer === undefined) throw refused('authorization: must be "Bearer <API key>"')
  if (bearer !== undefined && apiKey !== undefined && bearer !== apiKey) {
    throw refused('authorization and x-api-key hold different keys')
  }
  const key = bearer ?? apiKey
  if (key === undefined) throw refused('an API key is required: "Authorization: Bearer <API key>" or "x-api-key"')
  if (key.length > MAX_KEY_LENGTH) throw refused('the API key is not known')
  return key
}

function refused(message: string): BerthError {
  return new BerthError('unauthenticated', message)
}

/** Best effort and never waited for. */
function touch(deps: HttpDeps, touching: Set<string>, key: { id: string; last_used_at: string | null }): void {
  const now = deps.clock.now()
  const last = key.last_used_at === null ? 0 : Date.parse(key.last_used_at)
  if (now.getTime() - last < TOUCH_INTERVAL_MS || touching.has(key.id)) return
  touching.add(key.id)
  deps.store
    .touchKey({ id: key.id, now: now.toISOString() })
    .catch((err: unknown) => deps.logger.warn({ err, keyId: key.id }, 'the use of a key was not noted'))
    .finally(() => touching.delete(key.id))
}
