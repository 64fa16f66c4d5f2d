/** What an environment's networking comes to: read, merged, and as the gateway is told it. */
import { type EnvironmentConfig, type Networking, type NetworkingParams } from '@berth/protocol/api/environment'
import type { EgressPolicy } from '@berth/protocol/gateway'
import { readHostPattern } from '@berth/protocol/host'
import { packageHosts } from './package-hosts.ts'
import { invalid } from './refusal.ts'

type Limited = Extract<Networking, { type: 'limited' }>

/** As long as nothing is said, an environment leads nowhere. The profile leads anywhere: ours is the safe default, and one word changes it. */
export const nowhere: Limited = {
  type: 'limited',
  allowed_hosts: [],
  allow_mcp_servers: false,
  allow_package_managers: false,
}

/** Omitted keeps, at every level. Throws `invalid_request` naming the entry that is no host. */
export function acceptNetworking(params: NetworkingParams | null | undefined, current: Networking): Networking {
  if (params === null || params === undefined) return current
  if (params.type === 'unrestricted') return params
  const before = current.type === 'limited' ? current : nowhere
  return {
    type: 'limited',
    allowed_hosts: params.allowed_hosts?.map(readEntry) ?? before.allowed_hosts,
    allow_mcp_servers: params.allow_mcp_servers ?? before.allow_mcp_servers,
    allow_package_managers: params.allow_package_managers ?? before.allow_package_managers,
  }
}

function readEntry(text: string, index: number): string {
  const reading = readHostPattern(text)
  if ('pattern' in reading) return reading.pattern
  throw invalid(`config.networking.allowed_hosts.${index}`, reading.fault)
}

/** MCP servers have a way of their own: that they may be reached adds no host. */
export function toEgressPolicy(networking: EnvironmentConfig['networking']): EgressPolicy {
  if (networking.type === 'unrestricted') return { type: 'unrestricted' }
  const packages = networking.allow_package_managers ? Object.values(packageHosts).flat() : []
  return { type: 'limited', hosts: [...new Set([...networking.allowed_hosts, ...packages])] }
}

/** Where a session's MCP servers may be. */
export function toMcpPolicy(networking: EnvironmentConfig['networking'], urls: readonly string[]): EgressPolicy {
  if (networking.type === 'unrestricted') return { type: 'unrestricted' }
  const servers = networking.allow_mcp_servers ? urls.map((url) => new URL(url).hostname) : []
  return { type: 'limited', hosts: [...new Set([...networking.allowed_hosts, ...servers])] }
}
