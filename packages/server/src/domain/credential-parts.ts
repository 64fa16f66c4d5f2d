/** The parts of a credential, each brought into the form in which it is kept, or refused. */
import type {
  AuthOf,
  CreateAuth,
  CredentialNetworkingParams,
  InjectionParams,
} from '@berth/protocol/api/vault-credential'
import { credentialLimits } from '@berth/protocol/api/vault-credential'
import { readHostPattern } from '@berth/protocol/host'
import { readMcpUrl } from '@berth/protocol/mcp-url'
import { invalid } from './refusal.ts'
import { isReservedName } from './secret-name.ts'

type Variable = AuthOf<'environment_variable'>

export function readVariable(params: Extract<CreateAuth, { type: 'environment_variable' }>): {
  auth: Variable
  secrets: { secret_value: string }
} {
  const { type, secret_name, secret_value } = params
  if (isReservedName(secret_name)) throw invalid('auth.secret_name', `${secret_name} is a variable of the platform`)
  const networking = acceptHosts(params.networking)
  const nothing = { header: false, body: false }
  const injection_location = acceptInjection(params.injection_location ?? { header: true, body: true }, nothing)
  checkCarried(secret_value, injection_location)
  return { auth: { type, secret_name, networking, injection_location }, secrets: { secret_value } }
}

/** Whoever can choose the host has the secret: none but named ones. */
export function acceptHosts(params: CredentialNetworkingParams): Variable['networking'] {
  const field = 'auth.networking'
  if (params.type === 'unrestricted') {
    throw invalid(field, 'unrestricted is refused: name the hosts that the secret is for (type limited)')
  }
  const { allowed_hosts } = params
  if (allowed_hosts.length === 0) throw invalid(`${field}.allowed_hosts`, 'must name a host')
  if (allowed_hosts.length > credentialLimits.hosts) {
    throw invalid(`${field}.allowed_hosts`, `must have at most ${credentialLimits.hosts} hosts`)
  }
  const patterns = allowed_hosts.map((text, index) => {
    const reading = readHostPattern(text)
    if ('pattern' in reading) return reading.pattern
    throw invalid(`${field}.allowed_hosts.${index}`, reading.fault)
  })
  return { type: 'limited', allowed_hosts: [...new Set(patterns)] }
}

/** What is left out is as in `before`. */
export function acceptInjection(
  params: InjectionParams,
  before: Variable['injection_location'],
): Variable['injection_location'] {
  const { header = before.header, body = before.body } = params
  if (!header && !body) throw invalid('auth.injection_location', 'header or body must be true')
  return { header, body }
}

/** What Node, and any other careful program, puts into a header. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

export function checkCarried(secret: string, { header }: Variable['injection_location']): void {
  if (!header || HEADER_VALUE.test(secret)) return
  throw invalid(
    'auth.secret_value',
    'has characters that a header cannot carry; without them, or with injection_location.header false, it is accepted',
  )
}

export function acceptMcpUrl(text: string): string {
  const reading = readMcpUrl(text)
  if ('fault' in reading) throw invalid('auth.mcp_server_url', reading.fault)
  return reading.url
}

/** Not in the form of an MCP server's, which drops a slash at the end: that may be another endpoint. */
export function acceptTokenEndpoint(text: string): string {
  const reading = readMcpUrl(text)
  if ('fault' in reading) throw invalid('auth.refresh.token_endpoint', reading.fault)
  return new URL(text).href
}

/** RFC 3339 in UTC; null: not known. */
export function endOf(text: string | null | undefined, now: Date): string | null {
  if (text === null || text === undefined) return null
  const end = new Date(text)
  if (end <= now) throw invalid('auth.expires_at', 'must be in the future')
  return end.toISOString()
}
