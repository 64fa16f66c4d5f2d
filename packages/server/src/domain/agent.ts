/** What an agent's definition comes to: defaults filled in, what is not offered refused, updates merged. */
import { isDeepStrictEqual } from 'node:util'
import {
  type Agent,
  agentDefinition,
  type CreateAgentBody,
  type EffortLevel,
  type Model,
  type ModelParams,
  type UpdateAgentBody,
} from '@berth/protocol/api/agent'
import { noLimits } from '@berth/protocol/api/limits'
import { metadata } from '@berth/protocol/api/metadata'
import type { McpServerParams, StdioServer, StdioServerParams } from '@berth/protocol/api/tool'
import { z } from 'zod'
import { acceptLimits } from './limits.ts'
import { acceptMcpServers, acceptStdioServers, checkServers } from './mcp-servers.ts'
import { patchMetadata } from './metadata.ts'
import { unsupported } from './refusal.ts'
import { acceptTools } from './toolset.ts'

/** What one version of an agent holds. */
const agentBody = z.object({ definition: agentDefinition, metadata })
export type AgentBody = z.infer<typeof agentBody>

/** An agent and one of its versions, as stored. */
export interface StoredAgent {
  readonly ord: number
  readonly id: string
  readonly version: number
  /** JSON of an `AgentBody`. */
  readonly body: string
  readonly created_at: string
  /** When this version was made. */
  readonly updated_at: string
  readonly archived_at: string | null
}

export function parseAgentBody(json: string): AgentBody {
  return agentBody.parse(JSON.parse(json))
}

export function toWireAgent(stored: StoredAgent): Agent {
  const { definition, metadata } = parseAgentBody(stored.body)
  return {
    ...definition,
    id: stored.id,
    type: 'agent',
    version: stored.version,
    metadata,
    created_at: stored.created_at,
    updated_at: stored.updated_at,
    archived_at: stored.archived_at,
  }
}

/** The effort of a model for which none was asked: what the Messages API itself takes for granted. */
const DEFAULT_EFFORT: EffortLevel = 'high'

export function newAgent(body: CreateAgentBody): AgentBody {
  refuseUnsupported(body)
  const definition: AgentBody['definition'] = {
    name: body.name,
    description: emptyToNull(body.description),
    model: acceptModel(body.model),
    system: emptyToNull(body.system),
    tools: acceptTools(body.tools ?? [], 'tools'),
    mcp_servers: acceptMcpServers(body.mcp_servers ?? [], 'mcp_servers'),
    skills: [],
    multiagent: null,
    execution_identity: { type: 'service_account' },
    berth: {
      limits: acceptLimits(body.berth?.limits, noLimits),
      mcp_servers: acceptStdioServers(body.berth?.mcp_servers ?? []),
    },
  }
  checkServers(definition)
  return { definition, metadata: body.metadata ?? {} }
}

/** The same object when the update changes nothing. */
export function updatedAgent(current: AgentBody, body: UpdateAgentBody): AgentBody {
  refuseUnsupported(body)
  const old = current.definition
  const definition: AgentBody['definition'] = {
    ...old,
    name: body.name ?? old.name,
    description: body.description === undefined ? old.description : emptyToNull(body.description),
    model: body.model === undefined ? old.model : acceptModel(body.model, old.model),
    system: body.system === undefined ? old.system : emptyToNull(body.system),
    tools: body.tools === undefined ? old.tools : acceptTools(body.tools ?? [], 'tools'),
    mcp_servers: updatedServers(old.mcp_servers, body.mcp_servers, 'mcp_servers'),
    berth: {
      limits: acceptLimits(body.berth?.limits, body.berth === null ? noLimits : old.berth.limits),
      mcp_servers: updatedStdioServers(old.berth.mcp_servers, body.berth),
    },
  }
  checkServers(definition)
  const updated: AgentBody = { definition, metadata: patchMetadata(current.metadata, body.metadata) }
  return isDeepStrictEqual(updated, current) ? current : updated
}

/** Omitted keeps, null clears. */
export function updatedServers(
  old: McpServerParams[],
  wanted: readonly McpServerParams[] | null | undefined,
  field: string,
): McpServerParams[] {
  return wanted === undefined ? old : acceptMcpServers(wanted ?? [], field)
}

/** The same of those that run in the sandbox. */
export function updatedStdioServers(
  old: StdioServer[],
  berth: { readonly mcp_servers?: readonly StdioServerParams[] | null | undefined } | null | undefined,
): StdioServer[] {
  if (berth === undefined || (berth !== null && berth.mcp_servers === undefined)) return old
  return acceptStdioServers(berth?.mcp_servers ?? [])
}

/** An effort that is not named stays as it was while the model is the same. */
export function acceptModel(params: ModelParams, current?: Model): Model {
  const wanted = typeof params === 'string' ? { id: params } : params
  if (wanted.speed === 'fast') throw unsupported('model.speed', 'fast is not supported; leave it out or use standard')
  if ((wanted.inference_geo ?? null) !== null) throw unsupported('model.inference_geo', 'is not supported')
  const kept = current?.id === wanted.id ? current.effort : { type: DEFAULT_EFFORT }
  const effort = typeof wanted.effort === 'string' ? { type: wanted.effort } : (wanted.effort ?? kept)
  return { id: wanted.id, effort, speed: 'standard' }
}

/** An empty string clears, as null does. */
export function emptyToNull(value: string | null | undefined): string | null {
  return value === undefined || value === '' ? null : value
}

interface MaybeUnsupported {
  readonly skills?: readonly unknown[] | null | undefined
  readonly multiagent?: unknown
  readonly execution_identity?: { readonly type: string } | null | undefined
}

/** Empty and default values are what we do anyway; anything else is refused, never ignored. */
export function refuseUnsupported(body: MaybeUnsupported, prefix = ''): void {
  if ((body.skills ?? []).length > 0) throw unsupported(`${prefix}skills`, 'skills are not supported yet')
  if ((body.multiagent ?? null) !== null) throw unsupported(`${prefix}multiagent`, 'is not supported yet')
  if ((body.execution_identity?.type ?? 'service_account') !== 'service_account') {
    throw unsupported(`${prefix}execution_identity`, 'only service_account is supported')
  }
}
