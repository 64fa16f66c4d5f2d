/**
 * Who may be asked, and by which page. A browser can be led to any address (DNS rebinding), so the Host must be a name that the operator
 * knows; and a page of another origin may not call us unless it is listed. Both hold for every route, streams included.
 */
import { BerthError } from '@berth/protocol'
import type { MiddlewareHandler } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { AppEnv, HttpConfig } from './context.ts'

const loopback = ['localhost', '127.0.0.1', '[::1]']
const anyAddress = new Set(['0.0.0.0', '::', '[::]'])

export function checkOrigin(config: HttpConfig): MiddlewareHandler<AppEnv> {
  const isAllowedHost = hostRule(config)
  return createMiddleware<AppEnv>(async (c, next) => {
    const host = c.req.header('host')?.toLowerCase() ?? ''
    if (countHosts(c.env.incoming?.rawHeaders) > 1) throw new BerthError('invalid_request', 'host: is there twice')
    if (!isAllowedHost(host)) throw notAllowed('Host', host, 'BERTH_ALLOWED_HOSTS')
    const origin = c.req.header('origin')
    if (origin === undefined) return next()
    if (!isAllowedOrigin(origin, host, config)) throw notAllowed('Origin', origin, 'BERTH_ALLOWED_ORIGINS')
    await next()
    c.header('access-control-allow-origin', origin)
    c.header('access-control-expose-headers', 'request-id, x-should-retry, retry-after, anthropic-workspace-id')
    c.header('vary', 'Origin', { append: true })
    return undefined
  })
}

function hostRule(config: HttpConfig): (host: string) => boolean {
  const own = config.listenHost.includes(':') ? `[${config.listenHost.replaceAll(/[[\]]/g, '')}]` : config.listenHost
  const names = [...loopback, ...(anyAddress.has(config.listenHost) ? [] : [own]), ...config.allowedHosts]
  const allowed = new Set(names.map((name) => name.toLowerCase()))
  return (host) => allowed.has(host) || allowed.has(host.replace(/:\d{1,5}$/, ''))
}

function isAllowedOrigin(origin: string, host: string, config: HttpConfig): boolean {
  return origin === `http://${host}` || origin === `https://${host}` || config.allowedOrigins.includes(origin)
}

/** The parser keeps the first of several; a proxy in front may have gone by another. */
function countHosts(rawHeaders: readonly string[] | undefined): number {
  return (rawHeaders ?? []).filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host').length
}

function notAllowed(header: string, value: string, setting: string): BerthError {
  return new BerthError('forbidden', `${header} ${value.slice(0, 256)} is not allowed; see ${setting}`)
}
