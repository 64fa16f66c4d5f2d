/**
 * What of a request's headers reaches the agent's server, and what of its answer's the browser. Headers are lists of name and value, as they
 * came. An origin is the boundary that browsers keep; what would reach over it is taken out.
 */

import { ofConnection } from '@berth/protocol/connection-headers'

export type Header = readonly [name: string, value: string]

const notForServer = new Set(['expect', 'forwarded', 'x-real-ip'])

const notForBrowser = new Set([
  // Of the whole domain: "cookies" clears those of its other names too.
  'clear-site-data',
  // Reports name the URLs that failed, signed ones among them, and go wherever the answer says.
  'nel',
  'report-to',
  'reporting-endpoints',
  // Outlast the session, or lead its visitors elsewhere.
  'alt-svc',
  'strict-transport-security',
  'service-worker-allowed',
  // Says that an error is ours.
  'x-berth-error',
])

export function pairsOf(rawHeaders: readonly string[]): Header[] {
  const pairs: Header[] = []
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) pairs.push([rawHeaders[at] ?? '', rawHeaders[at + 1] ?? ''])
  return pairs
}

export function valuesOf(headers: readonly Header[], name: string): string[] {
  return headers.filter(([given]) => given.toLowerCase() === name).map(([, value]) => value)
}

interface Passing {
  /** Lower-case names of headers that hold credentials of ours. */
  readonly secret: ReadonlySet<string>
  readonly cookie: string
  readonly isSecure: boolean
  readonly host: string
}

/** `secret` headers and our cookie stay here. */
export function forServer(headers: readonly Header[], { secret, cookie, isSecure, host }: Passing): Header[] {
  const passed = withoutConnection(headers).flatMap(([name, value]): Header[] => {
    const lower = name.toLowerCase()
    if (secret.has(lower) || notForServer.has(lower) || lower.startsWith('x-forwarded-')) return []
    // A page that was reached by its signed URL tells it to what it leads to.
    if (lower === 'referer' && value.includes('berth_token')) return []
    if (lower !== 'cookie') return [[name, value]]
    const cookies = cookiesIn(value).filter(([name]) => name !== cookie)
    return cookies.length === 0 ? [] : [[name, cookies.map(([, text]) => text).join('; ')]]
  })
  return [...passed, ['x-forwarded-proto', isSecure ? 'https' : 'http'], ['x-forwarded-host', host]]
}

export function forBrowser(headers: readonly Header[], cookie: string): Header[] {
  return withoutConnection(headers).filter(([name, value]) => {
    const lower = name.toLowerCase()
    return lower === 'set-cookie' ? isOwnCookie(value, cookie) : !notForBrowser.has(lower)
  })
}

/** Values of every cookie of that name: a page of another origin of the domain may have added one. */
export function cookieValues(headers: readonly Header[], name: string): string[] {
  const all = valuesOf(headers, 'cookie').flatMap(cookiesIn)
  return all.filter(([given]) => given === name).map(([, text]) => text.slice(text.indexOf('=') + 1))
}

function cookiesIn(value: string): Header[] {
  return value.split(';').map((part) => [part.split('=', 1)[0]?.trim() ?? '', part.trim()])
}

/** For its origin alone, and not in the place of ours. */
function isOwnCookie(value: string, ours: string): boolean {
  const [pair = '', ...attributes] = value.split(';').map((part) => part.trim())
  const names = attributes.map((attribute) => attribute.split('=', 1)[0]?.trim().toLowerCase())
  return !names.includes('domain') && !pair.replace(/^[=\s]+/, '').startsWith(ours)
}

function withoutConnection(headers: readonly Header[]): Header[] {
  const named = valuesOf(headers, 'connection').flatMap((value) => value.toLowerCase().split(','))
  const dropped = new Set([...ofConnection, ...named.map((name) => name.trim())])
  return headers.filter(([name]) => !dropped.has(name.toLowerCase()))
}
