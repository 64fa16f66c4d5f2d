/** Sessions: how their agent is resolved, what an update may change, and how a stored one looks on the wire. */
import { stopReason, type StopReason } from '@berth/protocol/api/event'
import { isDeepStrictEqual } from 'node:util'
import type { AgentDefinition, Agent } from '@berth/protocol/api/agent'
import type { LimitsParams } from '@berth/protocol/api/limits'
import { metadata as metadataSchema, type Metadata } from '@berth/protocol/api/metadata'
import type { Budget } from '@berth/protocol/api/money'
import {
  type CreateSessionBody,
  type Session,
  type SessionAgent,
  sessionAgent,
  type SessionAgentParams,
  type SessionStatus,
  type UpdateSessionBody,
} from '@berth/protocol/api/session'
import type { Prices } from '@berth/protocol/prices'
import { checkSupported } from './acceptance.ts'
import { activeMsOf, changedBudget, parseBudget } from './budget.ts'
import { acceptModel, emptyToNull, refuseUnsupported, updatedServers, updatedStdioServers } from './agent.ts'
import { acceptLimits } from './limits.ts'
import { checkServers, type Tooled } from './mcp-servers.ts'
import { patchMetadata } from './metadata.ts'
import { invalid, unsupported } from './refusal.ts'
import { acceptTools } from './toolset.ts'
import { parseModels, toWireUsage } from './usage.ts'
import { parseVaultIds } from './variables.ts'

type ToolChanges = NonNullable<UpdateSessionBody['agent']>

/** Throws for the parts of a creation that this server does not have. */
export function refuseUnsupportedSession(body: CreateSessionBody): void {
  if ((body.resources ?? []).length > 0) throw unsupported('resources', 'session resources are not supported yet')
  for (const event of body.initial_events ?? []) checkSupported(event)
}

/** The agent as the session will run it: one version of it, with the overrides that the creation names. */
export function resolveSessionAgent(
  agent: Agent,
  params: SessionAgentParams,
  limits?: LimitsParams | null,
): SessionAgent {
  const { name, description, model, system, tools, mcp_servers, skills, multiagent, execution_identity } = agent
  const berth = { ...agent.berth, limits: acceptLimits(limits, agent.berth.limits) }
  const definition: AgentDefinition = {
    name,
    description,
    model,
    system,
    tools,
    mcp_servers,
    skills,
    multiagent,
    execution_identity,
    berth,
  }
  const base: SessionAgent = { ...definition, id: agent.id, type: 'agent', version: agent.version }
  if (typeof params === 'string' || params.type === 'agent') return base
  refuseUnsupported(params, 'agent.')
  if (params.model === null) throw invalid('agent.model', 'cannot be cleared', 'agent_model_required')
  const effective: SessionAgent = {
    ...base,
    // An override starts from the model's defaults; nothing of the agent's own model configuration is kept.
    model: params.model === undefined ? base.model : acceptModel(params.model),
    system: params.system === undefined ? base.system : emptyToNull(params.system),
    ...changedTools(base, params),
  }
  checkServers(effective, 'agent.')
  return effective
}

/** Omitted keeps, null clears. */
function changedTools(old: SessionAgent, wanted: ToolChanges): Tooled {
  return {
    tools: wanted.tools === undefined ? old.tools : acceptTools(wanted.tools ?? [], 'agent.tools'),
    mcp_servers: updatedServers(old.mcp_servers, wanted.mcp_servers, 'agent.mcp_servers'),
    berth: { ...old.berth, mcp_servers: updatedStdioServers(old.berth.mcp_servers, wanted.berth) },
  }
}

/** A row of `sessions`, as far as it is shown. JSON columns are text. */
export interface StoredSession {
  readonly id: string
  readonly environment_id: string
  readonly agent: string
  readonly title: string | null
  readonly metadata: string
  readonly status: SessionStatus
  readonly usage: string
  readonly budget: string | null
  readonly active_ms: number
  readonly active_since: string | null
  readonly created_at: string
  readonly updated_at: string
  readonly archived_at: string | null
  readonly sandbox_name: string | null
  readonly vault_ids: string
}

export interface SessionChanges {
  title?: string | null
  metadata?: Metadata
  agent?: SessionAgent
  budget?: Budget | null
}

/** What the update changes of the session as it stands; undefined: nothing. */
export function sessionChanges(
  session: StoredSession,
  body: UpdateSessionBody,
  given: { readonly prices: Prices; readonly now: Date },
): SessionChanges | undefined {
  if (session.status === 'terminated') throw invalid('status', 'a terminated session cannot be changed')
  if (body.vault_ids !== undefined) throw invalid('vault_ids', 'cannot be set on a session')
  const changes: SessionChanges = {}
  if (body.title !== undefined && body.title !== session.title) changes.title = body.title
  const oldMetadata = parseMetadata(session.metadata)
  const metadata = patchMetadata(oldMetadata, body.metadata)
  if (!isDeepStrictEqual(metadata, oldMetadata)) changes.metadata = metadata
  const agent = changedAgent(session, body)
  if (agent !== undefined) changes.agent = agent
  const model = parseSessionAgent(session.agent).model.id
  const budget = changedBudget(session, body.budget, { ...given, model })
  if (budget !== undefined) changes.budget = budget
  return Object.keys(changes).length === 0 ? undefined : changes
}

function changedAgent(session: StoredSession, body: UpdateSessionBody): SessionAgent | undefined {
  const wanted = body.agent ?? {}
  if (Object.values(wanted).every((change) => change === undefined)) return undefined
  if (session.status !== 'idle') throw invalid('agent', `can only be changed while idle, not while ${session.status}`)
  const old = parseSessionAgent(session.agent)
  const agent = { ...old, ...changedTools(old, wanted) }
  checkServers(agent, 'agent.')
  return isDeepStrictEqual(agent, old) ? undefined : agent
}

export function parseSessionAgent(json: string): SessionAgent {
  return sessionAgent.parse(JSON.parse(json))
}

function parseMetadata(json: string): Metadata {
  return metadataSchema.parse(JSON.parse(json))
}

/** `now` is what running times are counted to. */
export function toWireSession(session: StoredSession, now: Date): Session {
  const activeMs = activeMsOf(session, now)
  const end = session.archived_at === null ? now.getTime() : Date.parse(session.archived_at)
  return {
    id: session.id,
    type: 'session',
    status: session.status,
    title: session.title,
    environment_id: session.environment_id,
    agent: parseSessionAgent(session.agent),
    metadata: parseMetadata(session.metadata),
    resources: [],
    vault_ids: parseVaultIds(session),
    budget: parseBudget(session.budget),
    deployment_id: null,
    outcome_evaluations: [],
    berth: { sandbox: session.sandbox_name },
    usage: toWireUsage(parseModels(session.usage), activeMs),
    stats: {
      active_seconds: activeMs / 1000,
      duration_seconds: Math.max(0, end - Date.parse(session.created_at)) / 1000,
    },
    created_at: session.created_at,
    updated_at: session.updated_at,
    archived_at: session.archived_at,
  }
}

/** Why the session rests, if it does. */
export function stopReasonOf(session: { readonly stop_reason: string | null }): StopReason['type'] | undefined {
  return session.stop_reason === null ? undefined : stopReason.parse(JSON.parse(session.stop_reason)).type
}

/** Its turn is not over: no model request may be made for it. */
export function isPaused(session: { readonly stop_reason: string | null }): boolean {
  return stopReasonOf(session) === 'budget_reached'
}

/** Its turn is not over: a call waits for the client. */
export function waitsForClient(session: { readonly stop_reason: string | null }): boolean {
  return stopReasonOf(session) === 'requires_action'
}
