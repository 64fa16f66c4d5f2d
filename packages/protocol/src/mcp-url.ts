/** The one form in which URLs of MCP servers are compared. */
import { readHost } from './host.ts'

export type McpUrlReading = { readonly url: string } | { readonly fault: string }

const MAX_URL = 2048

/**
 * Scheme and host in lower case, without the default port and without a slash at the end. https alone: a credential goes over nothing
 * else. Pure; never throws.
 */
export function readMcpUrl(text: string): McpUrlReading {
  if (text.length > MAX_URL) return { fault: `must have at most ${MAX_URL} characters` }
  // Characters that a parser of URLs drops or replaces in silence.
  if (!/^[\x21-\x7e]+$/.test(text) || text.includes('\\')) return { fault: 'has characters that no URL has' }
  if (!URL.canParse(text)) return { fault: 'is not a URL' }
  const url = new URL(text)
  if (url.protocol !== 'https:') return { fault: 'must begin with https://' }
  if (url.username !== '' || url.password !== '') return { fault: 'must not name a user' }
  if (url.hash !== '' || text.includes('#')) return { fault: 'must not have a fragment' }
  if (text.includes('{') || text.includes('}')) return { fault: 'has characters that no URL has' }
  const reading = readHost(url.hostname)
  if ('fault' in reading) return { fault: `${url.hostname} ${reading.fault}` }
  return { url: `${url.origin}${url.pathname.replace(/\/+$/, '')}${url.search}` }
}
