/** An agent's tools: defaults filled in, what is not offered refused, and what a session's CLI is told of them. */
import type {
  AgentTool,
  AgentToolParams,
  AgentToolset,
  AgentToolsetParams,
  CustomTool,
  McpToolset,
  McpToolsetParams,
  PermissionPolicy,
  SandboxToolName,
  ToolConfig,
  ToolConfigParams,
} from '@berth/protocol/api/tool'
import { sandboxToolNames } from '@berth/protocol/api/tool'
import { type ResolvedServer, resolveServers, type Tooled } from './mcp-servers.ts'
import { invalid, unsupported } from './refusal.ts'

/** How the CLI names the tools of `agent_toolset_20260401`. */
export const cliToolNames = {
  bash: 'Bash',
  read: 'Read',
  write: 'Write',
  edit: 'Edit',
  glob: 'Glob',
  grep: 'Grep',
} as const satisfies Record<SandboxToolName, string>

export interface ResolvedTool {
  readonly cliName: string
  readonly wireName: SandboxToolName | 'Skill'
  readonly policy: 'always_allow' | 'always_ask' | 'deny'
}

export interface ResolvedTools {
  readonly tools: readonly ResolvedTool[]
  readonly customTools: readonly CustomTool[]
}

export interface AgentTools extends ResolvedTools {
  readonly mcpServers: readonly ResolvedServer[]
}

/** Puts a text of the workspace before the model, and runs nothing. */
export const skillTool: ResolvedTool = { cliName: 'Skill', wireName: 'Skill', policy: 'always_allow' }

/** All that an agent says its sessions may use. */
export function toolsOf(agent: Tooled): AgentTools {
  return { ...resolveTools(agent.tools), mcpServers: resolveServers(agent) }
}

/** What a session may use: the enabled tools of the toolset, and the client's own. Web tools are not offered. */
export function resolveTools(tools: readonly AgentTool[]): ResolvedTools {
  const toolset = tools.find((tool) => tool.type === 'agent_toolset_20260401')
  const customTools = tools.filter((tool) => tool.type === 'custom')
  if (toolset === undefined) return { tools: [], customTools }
  const enabled = sandboxToolNames.flatMap((wireName) => {
    const choice = toolset.configs.find((config) => config.name === wireName) ?? toolset.default_config
    return choice.enabled
      ? [{ cliName: cliToolNames[wireName], wireName, policy: policyName(choice.permission_policy) }]
      : []
  })
  return { tools: enabled, customTools }
}

/** `auto` is refused where tools are accepted; should one be stored all the same, a person decides. */
function policyName(policy: PermissionPolicy): ResolvedTool['policy'] {
  return policy.type === 'auto' ? 'always_ask' : policy.type
}

/** The tool that the CLI calls by this name, if the session has it. */
export function findTool(resolved: ResolvedTools, cliName: string): ResolvedTool | undefined {
  return resolved.tools.find((tool) => tool.cliName === cliName)
}

/** The toolset's name for a tool of the CLI, enabled or not; a tool that the toolset does not have keeps its own. */
export function wireName(cliName: string): string {
  return sandboxToolNames.find((name) => cliToolNames[name] === cliName) ?? cliName
}

type ToolInput = Readonly<Record<string, unknown>>

/** The CLI's input of a call in the words of `agent_toolset_20260401`. Members that the toolset has no word for stay as they are. */
export function wireInput(cliName: string, input: ToolInput): Record<string, unknown> {
  switch (cliName) {
    case cliToolNames.bash: {
      const { timeout, ...rest } = input
      return timeout === undefined ? rest : { ...rest, timeout_ms: timeout }
    }
    case cliToolNames.read: {
      const { offset, limit, ...rest } = input
      const range = viewRange(offset, limit)
      return range === undefined ? { ...input } : { ...rest, view_range: range }
    }
    default:
      return { ...input }
  }
}

/** Lines from 1, both ends included; -1 is the end of the file. */
function viewRange(offset: unknown, limit: unknown): [number, number] | undefined {
  if (offset === undefined && limit === undefined) return undefined
  const first = offset ?? 1
  if (typeof first !== 'number') return undefined
  if (limit === undefined) return [first, -1]
  return typeof limit === 'number' ? [first, first + limit - 1] : undefined
}

/** Fills in every default. Throws `unsupported` or `invalid_request` naming the field below `field`. */
export function acceptTools(params: readonly AgentToolParams[], field: string): AgentTool[] {
  const accepted = params.map((tool, index) => acceptTool(tool, `${field}.${index}`))
  checkNames(accepted, field)
  return accepted
}

function acceptTool(tool: AgentToolParams, field: string): AgentTool {
  switch (tool.type) {
    case 'agent_toolset_20260401':
      return acceptToolset(tool, field)
    case 'mcp_toolset':
      return acceptMcpToolset(tool, field)
    case 'custom':
    default:
      return tool
  }
}

function acceptToolset(params: AgentToolsetParams, field: string): AgentToolset {
  const defaults = {
    enabled: params.default_config?.enabled ?? true,
    permission_policy: acceptPolicy(params.default_config?.permission_policy, `${field}.default_config`),
  }
  const configs = (params.configs ?? []).map((config, index) =>
    acceptConfig(config, defaults, `${field}.configs.${index}`),
  )
  const twice = configs.find((config, index) => configs.findIndex((other) => other.name === config.name) !== index)
  if (twice !== undefined) throw invalid(`${field}.configs`, `names ${twice.name} twice`)
  return { type: 'agent_toolset_20260401', default_config: defaults, configs }
}

/** Without a word about it, a person decides on the tools of a server that is not ours. */
function acceptMcpToolset(params: McpToolsetParams, field: string): McpToolset {
  const defaults = {
    enabled: params.default_config?.enabled ?? true,
    permission_policy: acceptPolicy(params.default_config?.permission_policy, `${field}.default_config`, {
      type: 'always_ask',
    }),
  }
  const names = new Set<string>()
  const configs = (params.configs ?? []).map(({ name, enabled, permission_policy }, index) => {
    if (names.has(name)) throw invalid(`${field}.configs`, `names ${name} twice`)
    names.add(name)
    const at = `${field}.configs.${index}`
    return {
      name,
      enabled: enabled ?? defaults.enabled,
      permission_policy: acceptPolicy(permission_policy, at, defaults.permission_policy),
    }
  })
  return { type: 'mcp_toolset', mcp_server_name: params.mcp_server_name, default_config: defaults, configs }
}

type Choice = AgentToolset['default_config']

function acceptConfig(params: ToolConfigParams, defaults: Choice, field: string): ToolConfig {
  const choice: Choice = {
    enabled: params.enabled ?? defaults.enabled,
    permission_policy: acceptPolicy(params.permission_policy, field, defaults.permission_policy),
  }
  switch (params.name) {
    case 'web_fetch':
      return { name: 'web_fetch', type: 'web_fetch', ...disabled(choice, params.name, field), url_sources: null }
    case 'web_search':
      return { name: 'web_search', type: 'web_search', ...disabled(choice, params.name, field) }
    case 'bash':
      return { name: 'bash', type: 'bash', ...choice }
    case 'read':
      return { name: 'read', type: 'read', ...choice }
    case 'write':
      return { name: 'write', type: 'write', ...choice }
    case 'edit':
      return { name: 'edit', type: 'edit', ...choice }
    case 'glob':
      return { name: 'glob', type: 'glob', ...choice }
    case 'grep':
    default:
      return { name: params.name, type: params.name, ...choice }
  }
}

function disabled(choice: Choice, name: string, field: string): Choice {
  if (choice.enabled) throw unsupported(field, `${name} is not offered yet; leave it out or set enabled to false`)
  return choice
}

function acceptPolicy(
  policy: PermissionPolicy | null | undefined,
  field: string,
  fallback: PermissionPolicy = { type: 'always_allow' },
): PermissionPolicy {
  if (policy?.type === 'auto') {
    throw unsupported(`${field}.permission_policy`, 'the policy auto is not supported; use always_ask or always_allow')
  }
  return policy ?? fallback
}

function checkNames(tools: readonly AgentTool[], field: string): void {
  if (tools.filter((tool) => tool.type === 'agent_toolset_20260401').length > 1) {
    throw invalid(field, 'may hold agent_toolset_20260401 only once')
  }
  const resolved = resolveTools(tools)
  const seen = new Set<string>(resolved.tools.map((tool) => tool.wireName))
  for (const [index, tool] of tools.entries()) {
    if (tool.type !== 'custom') continue
    if (seen.has(tool.name)) throw invalid(`${field}.${index}.name`, `${tool.name} is the name of another tool`)
    seen.add(tool.name)
  }
}
