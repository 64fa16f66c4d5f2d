/** An agent's MCP servers: accepted, compared with the toolsets that name them, and what a session may use of each. */
import { createHash } from 'node:crypto'
import type { AgentDefinition } from '@berth/protocol/api/agent'
import {
  type McpServerParams,
  type McpToolset,
  type StdioServer,
  type StdioServerParams,
  toolLimits,
} from '@berth/protocol/api/tool'
import type { LinkPermissionPolicy, SessionConfig } from '@berth/protocol/link'
import { readMcpUrl } from '@berth/protocol/mcp-url'
import { linkNames } from './mcp-names.ts'
import { invalid } from './refusal.ts'

/** The parts of an agent that say which tools it has. */
export type Tooled = Pick<AgentDefinition, 'tools' | 'mcp_servers' | 'berth'>

type Place = { readonly type: 'remote'; readonly url: string } | ({ readonly type: 'stdio' } & StdioServer)

export interface ResolvedServer {
  /** As the agent names it. */
  readonly name: string
  /** As the model knows it. */
  readonly linkName: string
  readonly place: Place
  readonly tools: readonly { readonly name: string; readonly policy: LinkPermissionPolicy }[]
  readonly otherTools: LinkPermissionPolicy
}

/** Throws `invalid_request` naming the entry whose URL is none that a server of the web can have. */
export function acceptMcpServers(params: readonly McpServerParams[], field: string): McpServerParams[] {
  return params.map((server, index) => {
    const reading = readMcpUrl(server.url)
    if ('fault' in reading) throw invalid(`${field}.${index}.url`, reading.fault)
    return server
  })
}

export function acceptStdioServers(params: readonly StdioServerParams[]): StdioServer[] {
  return params.map((server) => ({ ...server, args: server.args ?? [], env: server.env ?? {} }))
}

/** Names are unique, and servers and toolsets name each other. `prefix` leads to the agent in the request. */
export function checkServers({ tools, mcp_servers, berth }: Tooled, prefix = ''): void {
  const servers = [...mcp_servers, ...berth.mcp_servers]
  if (servers.length > toolLimits.mcpServers) {
    throw invalid(`${prefix}berth.mcp_servers`, `an agent has at most ${toolLimits.mcpServers} MCP servers in all`)
  }
  const toolsets = tools.filter((tool) => tool.type === 'mcp_toolset').map((tool) => tool.mcp_server_name)
  for (const [index, { name, type }] of servers.entries()) {
    const at = type === 'url' ? `mcp_servers.${index}` : `berth.mcp_servers.${index - mcp_servers.length}`
    if (servers.findIndex((server) => server.name === name) < index) {
      throw invalid(`${prefix}${at}.name`, `${name} is the name of another MCP server`)
    }
    if (!toolsets.includes(name)) throw invalid(`${prefix}${at}`, `no mcp_toolset names the server ${name}`)
  }
  for (const [index, tool] of tools.entries()) {
    if (tool.type !== 'mcp_toolset') continue
    const name = tool.mcp_server_name
    const at = `${prefix}tools.${index}.mcp_server_name`
    if (!servers.some((server) => server.name === name)) throw invalid(at, `there is no MCP server ${name}`)
    if (toolsets.indexOf(name) !== toolsets.lastIndexOf(name)) throw invalid(at, `${name} has several toolsets`)
  }
}

/** What a session may use of its servers. */
export function resolveServers({ tools, mcp_servers, berth }: Tooled): ResolvedServer[] {
  const all = [...mcp_servers, ...berth.mcp_servers]
  const names = linkNames(all.map(({ name }) => name))
  return all.flatMap((server) => {
    const toolset = tools.find((tool) => tool.type === 'mcp_toolset' && tool.mcp_server_name === server.name)
    const linkName = names.get(server.name)
    if (toolset?.type !== 'mcp_toolset' || linkName === undefined) return []
    const place: Place = server.type === 'url' ? { type: 'remote', url: server.url } : server
    const configured = toolset.configs.map((config) => ({ name: config.name, policy: policyOf(config) }))
    return [{ name: server.name, linkName, place, tools: configured, otherTools: policyOf(toolset.default_config) }]
  })
}

/** `auto` is refused where tools are accepted; should one be stored all the same, a person decides. */
function policyOf({ enabled, permission_policy }: McpToolset['default_config']): LinkPermissionPolicy {
  if (!enabled) return 'deny'
  return permission_policy.type === 'auto' ? 'always_ask' : permission_policy.type
}

/** As the runner is told it. */
export function toLinkServer(server: ResolvedServer): SessionConfig['mcp_servers'][number] {
  const { linkName, place, otherTools } = server
  const known = { name: linkName, tools: server.tools.map((tool) => ({ ...tool })), other_tools: otherTools }
  if (place.type === 'remote') {
    // The URL itself is the gateway's to know: it may hold what the sandbox should not read.
    return { type: 'remote', ...known, place: toLinkPlace(place.url) }
  }
  return { type: 'stdio', ...known, command: place.command, args: place.args, env: place.env }
}

/** What the runner is told of where a server of the web is. */
export function toLinkPlace(url: string): string {
  return createHash('sha256').update(url).digest('hex').slice(0, 16)
}

/** The call of an MCP tool that the CLI makes under this name, if one of these servers is meant. */
export function findMcpTool(
  servers: readonly ResolvedServer[],
  cliName: string,
): { server: ResolvedServer; name: string; policy: LinkPermissionPolicy } | undefined {
  for (const server of servers) {
    const prefix = `mcp__${server.linkName}__`
    if (!cliName.startsWith(prefix)) continue
    const name = cliName.slice(prefix.length)
    const policy = server.tools.find((tool) => tool.name === name)?.policy ?? server.otherTools
    return { server, name, policy }
  }
  return undefined
}
