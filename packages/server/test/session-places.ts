/** Where sessions of tests live: an agent, and an environment for each policy. */
import type { Report } from '@berth/protocol'
import type { SeenTool } from '@berth/protocol/seen-tools'
import { createAgentBody } from '@berth/protocol/api/agent'
import { createEnvironmentBody } from '@berth/protocol/api/environment'
import { newAgent } from '../src/domain/agent.ts'
import { newEnvironment } from '../src/domain/environment.ts'
import { toLinkPlace } from '../src/domain/mcp-servers.ts'
import { newId } from '../src/domain/ids.ts'
import type { Store } from '../src/store/store.ts'

export const workspaceId = 'wrkspc_world'
export type Policy = 'continue' | 'rerun' | 'stop'
export const policies: readonly Policy[] = ['continue', 'rerun', 'stop']

export interface Places {
  readonly agent: string
  readonly environments: Readonly<Record<Policy, string>>
}

const toolset = {
  type: 'agent_toolset_20260401' as const,
  configs: [{ name: 'bash' as const, permission_policy: { type: 'always_ask' as const } }],
}
const custom = {
  type: 'custom' as const,
  name: 'lookup',
  description: 'd',
  input_schema: { type: 'object' as const },
}

const docs = { type: 'url' as const, name: 'docs', url: 'https://docs.example/mcp' }
/** What a runner reports of the server's tools. */
export const seenTools = (...tools: SeenTool[]): Report => ({
  type: 'seen_tools',
  server: docs.name,
  place: toLinkPlace(docs.url),
  tools,
})
export const seenTool = (name: string, is_withheld = false): SeenTool => ({ name, digest: 'd'.repeat(43), is_withheld })

const mcpTools = { type: 'mcp_toolset' as const, mcp_server_name: 'docs' }

/** An agent whose Bash and MCP tools ask, whose Read does not, and whose `lookup` the client answers; an environment for each policy. */
export async function makePlaces(store: Store): Promise<Places> {
  const now = new Date().toISOString()
  await store.ensureWorkspace({ id: workspaceId, name: 'world', now })
  const agent = newId('agent')
  const body = newAgent(
    createAgentBody.parse({ name: 'A', model: 'm', tools: [toolset, mcpTools, custom], mcp_servers: [docs] }),
  )
  await store.createAgent({ workspaceId, id: agent, body, now })
  const environments = { continue: newId('env'), rerun: newId('env'), stop: newId('env') }
  for (const policy of policies) {
    const config = { type: 'cloud', berth: { on_interrupted_turn: policy } }
    const environment = newEnvironment(createEnvironmentBody.parse({ name: policy, config }))
    await store.createEnvironment({ workspaceId, id: environments[policy], body: environment, now })
  }
  return { agent, environments }
}
