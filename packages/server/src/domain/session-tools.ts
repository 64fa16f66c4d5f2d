import { environmentConfig } from '@berth/protocol/api/environment'
import type { Tooled } from './mcp-servers.ts'
import { type AgentTools, skillTool, toolsOf } from './toolset.ts'

/** All that a session may use: its agent's tools and, where its environment lets the workspace have skills, the one that reads them. */
export function sessionTools(agent: Tooled, session: { readonly environment: string }): AgentTools {
  const tools = toolsOf(agent)
  const { berth } = environmentConfig.parse(JSON.parse(session.environment))
  return berth.setting_sources.includes('project') ? { ...tools, tools: [...tools.tools, skillTool] } : tools
}
