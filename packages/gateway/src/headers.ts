import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { filterBetas } from './betas.ts'
import { Refusal } from './refusal.ts'

const MAX_HEADERS = 100

/** Request headers that go upstream as the CLI sent them. `anthropic-beta` is filtered, framing and authentication are the gateway's. */
const requestHeaders = new Set(['accept', 'anthropic-version', 'traceparent', 'user-agent', 'x-app'])
const requestPrefixes = ['x-claude-code-', 'x-stainless-']

/** Answer headers that the sandbox gets to see. */
const answerHeaders = new Set(['content-type', 'request-id', 'retry-after', 'retry-after-ms', 'x-should-retry'])
const answerPrefixes = ['anthropic-ratelimit-']

/** Refuses what two parsers could read in two ways. Node itself refuses a length beside chunked, bare LF and folded lines. */
export function checkFraming(request: IncomingMessage): void {
  const names = request.rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
  if (names.length > MAX_HEADERS) throw new Refusal(431, 'Too many headers')
  if (request.httpVersion !== '1.1') throw new Refusal(505, 'HTTP/1.1 is required', { retry: false })
  for (const single of ['host', 'content-length', 'content-type', 'transfer-encoding', 'content-encoding']) {
    if (names.filter((name) => name === single).length > 1) throw new Refusal(400, `Two ${single} headers`)
  }
  const { headers } = request
  if (headers.host === undefined) throw new Refusal(400, 'The host header is missing')
  if (headers.upgrade !== undefined) throw new Refusal(400, 'Upgrades are not available')
  const transfer = headers['transfer-encoding']
  if (transfer !== undefined && transfer.toLowerCase() !== 'chunked')
    throw new Refusal(400, 'transfer-encoding: only chunked')
}

export function checkJsonBody(headers: IncomingHttpHeaders): void {
  if (!/^application\/json(;\s*charset="?utf-8"?)?$/i.test(headers['content-type'] ?? '')) {
    throw new Refusal(415, 'content-type: only application/json')
  }
  if ((headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity') {
    throw new Refusal(415, 'content-encoding: only identity')
  }
}

export interface UpstreamHeaders {
  readonly apiKey: string
  readonly bodyBytes: number
  readonly serverTools: readonly string[]
}

/** Headers for upstream. An answer in any encoding but identity could not be metered. */
export function toUpstream(headers: IncomingHttpHeaders, given: UpstreamHeaders): OutgoingHttpHeaders {
  const out: OutgoingHttpHeaders = { 'anthropic-version': '2023-06-01' }
  for (const [name, value] of Object.entries(headers)) {
    if (requestHeaders.has(name) || requestPrefixes.some((prefix) => name.startsWith(prefix))) out[name] = value
  }
  const beta = headers['anthropic-beta']
  const betas = filterBetas(Array.isArray(beta) ? beta.join(',') : beta, given.serverTools)
  if (betas !== undefined) out['anthropic-beta'] = betas
  out['content-type'] = 'application/json'
  out['content-length'] = given.bodyBytes
  out['accept-encoding'] = 'identity'
  out['x-api-key'] = given.apiKey
  return out
}

export function toSandbox(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const out: OutgoingHttpHeaders = {}
  for (const [name, value] of Object.entries(headers)) {
    if (answerHeaders.has(name) || answerPrefixes.some((prefix) => name.startsWith(prefix))) out[name] = value
  }
  return out
}
