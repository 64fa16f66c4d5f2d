import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { ofConnection } from '@berth/protocol/connection-headers'
import { isOriginForm, isSameTarget, readAbsolute, readAuthority } from './authority.ts'
import type { Target } from './policy.ts'
import { EgressRefusal } from './refusal.ts'

const MAX_HEADERS = 100

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Given twice, two readers could each believe another one. */
const single = ['host', 'content-length', 'transfer-encoding', 'proxy-authorization', 'upgrade', 'expect']
/** Nor is what the gateway answers itself, or would have to keep to. */
const notPassedOn = new Set([...ofConnection, 'expect', 'http2-settings', 'max-forwards'])
const nominable = new Set(['close', 'keep-alive', 'upgrade', 'te', 'http2-settings', 'proxy-connection'])

export function malformed(message: string): EgressRefusal {
  return new EgressRefusal(400, 'malformed', message)
}

/** Refuses what two parsers could read in two ways. Node itself refuses a length beside chunked, bare LF and folded lines. */
export function checkHead(request: IncomingMessage): void {
  const names = request.rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
  if (names.length > MAX_HEADERS) throw new EgressRefusal(431, 'limit', 'the request has too many headers')
  for (const name of single) {
    if (names.filter((each) => each === name).length > 1) throw malformed(`the request has two ${name} headers`)
  }
  const { headers } = request
  if (headers['transfer-encoding'] !== undefined) {
    if (headers['transfer-encoding'].toLowerCase() !== 'chunked') throw malformed('transfer-encoding: only chunked')
    if (headers['content-length'] !== undefined) throw malformed('the request has two lengths')
  }
  for (const token of (headers.connection ?? '').toLowerCase().split(',')) {
    const name = token.trim()
    if (name !== '' && !nominable.has(name)) throw malformed('the connection header names another header')
  }
}

export interface Forwarded {
  readonly target: Target
  /** In origin form. */
  readonly path: string
  /** Over TLS, which ends here and begins again. */
  readonly isSecure: boolean
}

/** A host to which a connection was opened, which the requests in it may not leave. */
export type Inside = Pick<Forwarded, 'target' | 'isSecure'>

/** Where a request is to go. */
export function readForwarded(request: IncomingMessage, tunnel: Inside | undefined): Forwarded {
  checkHead(request)
  const { method = '', url = '' } = request
  if (!methods.has(method)) throw new EgressRefusal(405, 'method', `${method} is not passed on`)
  if (request.httpVersion !== '1.1') throw new EgressRefusal(505, 'malformed', 'HTTP/1.1 is required')
  const forwarded = tunnel === undefined ? readAbsoluteForm(url) : readOriginForm(url, tunnel)
  const { host } = request.headers
  if (host === undefined || !isSameTarget(readAuthority(host, defaultPort(forwarded)), forwarded.target)) {
    throw malformed('the Host header and the host of the request are not the same')
  }
  return forwarded
}

function defaultPort({ isSecure }: Forwarded): number {
  return isSecure ? 443 : 80
}

function readAbsoluteForm(url: string): Forwarded {
  const { target, path } = readAbsolute(url)
  if ('fault' in target) throw malformed(`the host of the request ${target.fault}`)
  if (target.port === 443) throw new EgressRefusal(403, 'port', `${target.host}:443 takes TLS alone, in a tunnel`)
  return { target, path, isSecure: false }
}

function readOriginForm(url: string, inside: Inside): Forwarded {
  if (!isOriginForm(url)) throw malformed('the target of the request is not a path')
  return { target: inside.target, isSecure: inside.isSecure, path: url }
}

/** Where a CONNECT is to lead. */
export function readConnect(request: IncomingMessage): Target {
  checkHead(request)
  const { headers, url = '' } = request
  const target = readAuthority(url, undefined)
  if ('fault' in target) throw malformed(`the host of the request ${target.fault}`)
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) {
    throw malformed('CONNECT has no body')
  }
  if (!['1.0', '1.1'].includes(request.httpVersion)) throw new EgressRefusal(505, 'malformed', 'HTTP/1 is required')
  if (headers.upgrade !== undefined) throw new EgressRefusal(400, 'upgrade', 'CONNECT is no upgrade')
  // Older clients send none with it.
  if (headers.host !== undefined && !isSameTarget(readAuthority(headers.host, target.port), target)) {
    throw malformed('the Host header and the host of the request are not the same')
  }
  return target
}

/** Refuses every upgrade but one to a WebSocket, as its handshake has to be. */
export function checkUpgrade({ headers, method }: IncomingMessage): void {
  const key = headers['sec-websocket-key'] ?? ''
  const isWebSocket = headers.upgrade?.toLowerCase() === 'websocket' && method === 'GET'
  if (!isWebSocket) throw new EgressRefusal(400, 'upgrade', 'no upgrade is passed on but that to a WebSocket')
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) {
    throw malformed('the handshake of a WebSocket has no body')
  }
  if (headers['sec-websocket-version'] !== '13' || !/^[A-Za-z0-9+/]{22}==$/.test(key)) {
    throw malformed('the handshake of the WebSocket is not that of version 13')
  }
}

/** What a server answers that has read this handshake. */
export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

/** The headers that go on to the host, name and value in turns: framing, host and connection are written anew. */
export function toHost(request: IncomingMessage, forwarded: Forwarded): string[] {
  const { headers } = request
  const { host, port } = forwarded.target
  const framing = framingOf(request)
  // A host that expects no body with this method could take one for the next request.
  const mayGoOn = forwarded.isSecure && !(isBodiless(request) && framing.length > 0)
  const connection =
    headers.upgrade === undefined
      ? ['Connection', mayGoOn ? 'keep-alive' : 'close']
      : ['Connection', 'Upgrade', 'Upgrade', 'websocket']
  return [
    'Host',
    port === defaultPort(forwarded) ? host : `${host}:${port}`,
    ...endToEnd(request.rawHeaders, (name) => name === 'host' || name === 'content-length'),
    ...framing,
    ...connection,
  ]
}

function framingOf(request: IncomingMessage): string[] {
  const length = request.headers['content-length']
  if (request.headers['transfer-encoding'] !== undefined) return ['Transfer-Encoding', 'chunked']
  if (length !== undefined) return ['Content-Length', String(Number(length))]
  return isBodiless(request) ? [] : ['Content-Length', '0']
}

function isBodiless({ method = '' }: IncomingMessage): boolean {
  return ['GET', 'HEAD', 'OPTIONS', 'DELETE'].includes(method)
}

/** The headers of an answer that go on to the sandbox. */
export function toSandbox(rawHeaders: readonly string[]): string[] {
  return endToEnd(rawHeaders, () => false)
}

function endToEnd(rawHeaders: readonly string[], isLeftOut: (name: string) => boolean): string[] {
  const kept: string[] = []
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = rawHeaders.slice(at, at + 2)
    const lower = name.toLowerCase()
    if (!notPassedOn.has(lower) && !isLeftOut(lower)) kept.push(name, value)
  }
  return kept
}
