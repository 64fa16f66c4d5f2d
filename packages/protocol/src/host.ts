/**
 * The one form in which names of hosts are compared: lower-case letters, digits and hyphens, at least two labels, no dot at the end, an
 * internationalised label in its `xn--` form. What has no such form is no host, whatever a resolver would make of it.
 */
import { domainToASCII } from 'node:url'

export type HostReading = { readonly host: string } | { readonly fault: string }

const MAX_NAME = 253
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
/** The last label of what resolvers take for a number: `1`, `0x7f`, `0177`. */
const NUMERIC = /^(?:\d+|0x[0-9a-f]*)$/

/** Reads a name as it stands in a request: ASCII only, in any case. Pure; never throws. */
export function readHost(text: string): HostReading {
  const host = text.toLowerCase()
  // Not only so that the message is short: lower case may have changed a letter outside of ASCII into one of it.
  if (!/^[\x21-\x7e]*$/.test(text)) return { fault: 'has characters that no name of a host has' }
  if (host === '') return { fault: 'is empty' }
  if (host.length > MAX_NAME) return { fault: 'is too long' }
  const labels = host.split('.')
  const last = labels.at(-1) ?? ''
  if (host.includes(':') || NUMERIC.test(last)) return { fault: 'is an address or a number, not a name' }
  if (!labels.every((label) => LABEL.test(label))) return { fault: 'is not the name of a host' }
  if (labels.length < 2) return { fault: 'has no domain' }
  if (labels.some((label) => label.startsWith('xn--')) && domainToASCII(host) !== host) {
    return { fault: 'has a label that stands for no letters' }
  }
  return { host }
}

export type PatternReading = { readonly pattern: string } | { readonly fault: string }

/** Reads an entry of a policy: a name or `*.` before one, also with letters outside of ASCII. Answers its canonical form. */
export function readHostPattern(text: string): PatternReading {
  const isSuffix = text.startsWith('*.')
  const name = isSuffix ? text.slice(2) : text
  if (name.includes('*')) return { fault: 'may have a * only at its beginning, as in *.example.com' }
  if (/[/?#@\\]/.test(name)) return { fault: 'must be a name alone, without scheme, path or user' }
  if (/^[^:]+:\d*$/.test(name)) return { fault: 'must be a name without a port' }
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  if (/[\u0000-\u0020\u007f-\u00a0]/.test(name)) return { fault: 'has characters that no name of a host has' }
  // oxlint-disable-next-line no-control-regex -- the same
  const reading = readHost(/^[\u0000-\u007f]*$/.test(name) ? name : domainToASCII(name))
  if ('fault' in reading) return reading
  return { pattern: isSuffix ? `*.${reading.host}` : reading.host }
}
