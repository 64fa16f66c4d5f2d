/**
 * A POST that comes again is answered again and has its effect once. Clients name a request with `Idempotency-Key`; the official client
 * names none but marks its retries. See docs/reference/idempotency.md.
 */
import type { Sealing } from '@berth/protocol/sealing'
import type { Context, MiddlewareHandler, Next } from 'hono'
import { createMiddleware } from 'hono/factory'
import { invalid } from '../domain/refusal.ts'
import type { KeptAnswer } from '../store/requests.ts'
import type { KeyedRequest, Once } from '../store/run-once.ts'
import type { Store } from '../store/store.ts'
import type { AppEnv, HttpDeps } from './context.ts'

/** A header that is there twice arrives as one value with a space in it, which is no key. */
const keyPattern = /^[\x21-\x7E]{1,255}$/
const countPattern = /^\d{1,4}$/
/** The official client gives an attempt up after ten minutes and tries again within seconds; what comes later is a request of its own. */
const RETRY_WINDOW_MS = 15 * 60_000

/** Stands behind authentication and the reading of the body. */
export function exactlyOnce({ store, clock, notes, sealing }: HttpDeps): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    if (c.req.method !== 'POST') return next()
    const once = toOnce(c, clock.now(), sealing)
    if (once === undefined) return next()
    c.set('once', once)
    if (once.by === 'key') return answerKeyed(c, { store, once, next })
    if (once.retrySince !== null) await notes.settle()
    await next()
    if (c.res.status < 400) notes.forgetOnceAnswered(c.env.outgoing, once.requestId)
    return undefined
  })
}

function toOnce(c: Context<AppEnv>, now: Date, sealing: Sealing): Once | undefined {
  const key = c.req.header('idempotency-key')
  if (key !== undefined && !keyPattern.test(key)) {
    throw invalid('Idempotency-Key', 'must be there once and be 1 to 255 visible ASCII characters, without spaces')
  }
  const { pathname, search } = new URL(c.req.url)
  // By a key: a plain hash of a body would tell whether a guess of the secret in it is right.
  const fingerprint = (): string =>
    sealing.derive(`request ${c.req.method} ${pathname}${search}\n${c.get('body') ?? ''}`)
  const request = { requestId: c.get('requestId'), now: now.toISOString() }
  if (key !== undefined) return { by: 'key', ...request, scope: c.get('workspaceId'), key, fingerprint: fingerprint() }
  const count = c.req.header('x-stainless-retry-count') ?? ''
  // A client that does not count its retries will never mark one.
  if (!countPattern.test(count)) return undefined
  const since = new Date(now.getTime() - RETRY_WINDOW_MS).toISOString()
  const retrySince = Number(count) > 0 ? since : null
  return { by: 'mark', ...request, scope: c.get('keyId'), key: pathname, fingerprint: fingerprint(), retrySince }
}

interface Keyed {
  readonly store: Store
  readonly once: KeyedRequest
  readonly next: Next
}

async function answerKeyed(c: Context<AppEnv>, { store, once, next }: Keyed): Promise<Response | undefined> {
  const kept = await store.findAnswer(once)
  if (kept !== undefined) return toResponse(c, kept)
  await next()
  const first = await keep(c, store, once)
  if (first === undefined) return undefined
  // Without this the headers of both would be mixed.
  c.res = undefined
  c.res = toResponse(c, first)
  return undefined
}

/**
 * Before an answer is sent it is durable: what a client has seen once it will see again. Answers another request's answer where that was
 * first, which is to be sent instead.
 */
async function keep(c: Context<AppEnv>, store: Store, once: KeyedRequest): Promise<KeptAnswer | undefined> {
  const { status, headers } = c.res
  // A fault is not the answer; the next try may find another.
  if (status >= 500) return store.findAnswer(once)
  if (headers.get('cache-control') === 'no-store') return undefined
  const answer = { requestId: once.requestId, status, headers: [...headers], body: await c.res.clone().text() }
  const first = await store.keepAnswer({ once, answer })
  return first?.requestId === once.requestId ? undefined : first
}

function toResponse(c: Context<AppEnv>, { requestId, status, headers, body }: KeptAnswer): Response {
  c.set('requestId', requestId)
  return new Response(body, { status, headers })
}
