import { readHost } from '@berth/protocol/host'
import type { Target } from './policy.ts'

export type TargetReading = Target | { readonly fault: string }

const AUTHORITY = /^(?<host>[^:]*)(?::(?<port>[^:]*))?$/
const PORT = /^[1-9]\d{0,4}$/
const ABSOLUTE = /^http:\/\/(?<authority>[^/?]*)(?<path>[/?][\x21\x22\x24-\x5b\x5d-\x7e]*)?$/
const ORIGIN = /^\/[\x21\x22\x24-\x5b\x5d-\x7e]*$/

/** `host:port`; without a port, the default one if there is any. */
export function readAuthority(text: string, defaultPort: number | undefined): TargetReading {
  const { host, port } = AUTHORITY.exec(text)?.groups ?? {}
  if (host === undefined) return { fault: 'is an address or a number, not a name' }
  const number = port === undefined ? defaultPort : PORT.test(port) ? Number(port) : undefined
  if (number === undefined || number > 65_535) return { fault: 'has no valid port' }
  const reading = readHost(host)
  return 'fault' in reading ? reading : { host: reading.host, port: number }
}

/** Of a request to a proxy: `http://host[:port]/path`. */
export function readAbsolute(text: string): { readonly target: TargetReading; readonly path: string } {
  const { authority, path = '/' } = ABSOLUTE.exec(text)?.groups ?? {}
  if (authority === undefined) return { target: { fault: 'is not http:// with a host and a path' }, path: '/' }
  return { target: readAuthority(authority, 80), path: path.startsWith('/') ? path : `/${path}` }
}

export function isOriginForm(text: string): boolean {
  return ORIGIN.test(text)
}

export function isSameTarget(one: TargetReading, other: Target): boolean {
  return !('fault' in one) && one.host === other.host && one.port === other.port
}
