import { readMcpUrl } from '@berth/protocol/mcp-url'
import type { Target } from '../egress/policy.ts'

/** Where a URL leads, by https. */
export interface Place {
  readonly target: Target
  /** In origin form, with the query. */
  readonly path: string
  /** In its canonical form, by which credentials are found. */
  readonly url: string
}

/** Pure; never throws. */
export function readPlace(text: string): Place | { readonly fault: string } {
  const reading = readMcpUrl(text)
  if ('fault' in reading) return reading
  const { hostname, port, pathname, search } = new URL(text)
  const target = { host: hostname, port: port === '' ? 443 : Number(port) }
  return { target, path: `${pathname}${search}`, url: reading.url }
}
