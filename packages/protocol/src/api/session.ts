/** Sessions: one conversation and its files. */
import { z } from 'zod'
import { agentDefinition, modelParams, skillsParams, systemParams } from './agent.ts'
import { initialEvent } from './client-event.ts'
import { limitsParams } from './limits.ts'
import { budget, budgetParams, money } from './money.ts'
import { metadata, metadataPatch } from './metadata.ts'
import { sandboxName } from './sandbox-name.ts'
import { idText, none, text, timestamp } from './text.ts'
import { mcpServersParams, stdioServersParams, toolsParams } from './tool.ts'

export const sessionLimits = { title: 512, initialEvents: 50, vaults: 50 } as const

export const sessionStatuses = ['idle', 'running', 'rescheduling', 'terminated'] as const
export const sessionStatus = z.enum(sessionStatuses)
export type SessionStatus = z.infer<typeof sessionStatus>

const version = z.int().min(1).optional()

/** Ours. */
const berthServers = z.strictObject({ mcp_servers: stdioServersParams.nullish() }).nullish()

export const sessionAgentParams = z.union([
  idText,
  z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('agent'), id: idText, version }),
    z.strictObject({
      type: z.literal('agent_with_overrides'),
      id: idText,
      version,
      model: modelParams.nullish(),
      system: systemParams,
      tools: toolsParams.nullish(),
      mcp_servers: mcpServersParams.nullish(),
      skills: skillsParams.nullish(),
      berth: berthServers,
    }),
  ]),
])
export type SessionAgentParams = z.infer<typeof sessionAgentParams>

const title = text({ max: sessionLimits.title }).nullish()

/** Refused in full when present, so nothing but its kind is looked at. */
const resourceParams = z.object({ type: z.enum(['file', 'github_repository', 'memory_store']) })
const vaultIds = z.array(idText).max(sessionLimits.vaults).optional()

/** Ours. */
const berthSessionParams = z
  .strictObject({
    /** Those that are named stand in place of the agent's. */
    limits: limitsParams.nullish(),
    /** The session lives in the environment's sandbox of that name, with all others that name it. */
    sandbox: sandboxName.nullish(),
  })
  .nullish()

export const createSessionBody = z
  .strictObject({
    agent: sessionAgentParams,
    environment_id: idText,
    title,
    metadata: metadata.optional(),
    initial_events: z.array(initialEvent).max(sessionLimits.initialEvents).optional(),
    resources: z.array(resourceParams).optional(),
    vault_ids: vaultIds,
    budget: budgetParams.nullish(),
    berth: berthSessionParams,
  })
  .meta({ id: 'CreateSessionParams' })
export type CreateSessionBody = z.infer<typeof createSessionBody>

export const updateSessionBody = z
  .strictObject({
    title,
    metadata: metadataPatch.nullish(),
    agent: z
      .strictObject({
        tools: toolsParams.nullish(),
        mcp_servers: mcpServersParams.nullish(),
        berth: berthServers,
      })
      .nullish(),
    vault_ids: vaultIds,
    budget: budgetParams.nullish(),
  })
  .meta({ id: 'UpdateSessionParams' })
export type UpdateSessionBody = z.infer<typeof updateSessionBody>

const tokens = z.int().nonnegative()

export const usage = z
  .object({
    input_tokens: tokens,
    output_tokens: tokens,
    cache_read_input_tokens: tokens,
    cache_creation: z.object({ ephemeral_5m_input_tokens: tokens, ephemeral_1h_input_tokens: tokens }),
    server_tool_use: z.object({ web_search_requests: tokens, web_fetch_requests: tokens }),
    active_seconds: z.number().nonnegative(),
    list_cost: money,
  })
  .meta({ id: 'Usage' })
export type Usage = z.infer<typeof usage>

/** The agent as this session runs it: resolved when the session was made, changed only by the session's own update. */
export const sessionAgent = agentDefinition
  .extend({ id: idText, type: z.literal('agent'), version: z.int() })
  .meta({ id: 'SessionAgent' })
export type SessionAgent = z.infer<typeof sessionAgent>

export const session = z
  .object({
    id: idText,
    type: z.literal('session'),
    status: sessionStatus,
    title: z.string().nullable(),
    environment_id: idText,
    agent: sessionAgent,
    metadata,
    resources: none,
    vault_ids: z.array(idText),
    budget: budget.nullable(),
    deployment_id: z.null(),
    outcome_evaluations: none,
    usage,
    /** Ours. Name of the sandbox that it shares; null: it has one of its own. */
    berth: z.object({ sandbox: z.string().nullable() }),
    /** Seconds: with a turn running, and since creation until archival. */
    stats: z.object({ active_seconds: z.number(), duration_seconds: z.number() }),
    created_at: timestamp,
    updated_at: timestamp,
    archived_at: timestamp.nullable(),
  })
  .meta({ id: 'Session' })
export type Session = z.infer<typeof session>

export const sessionDeleted = z
  .object({ id: idText, type: z.literal('session_deleted') })
  .meta({ id: 'SessionDeleted' })
export type SessionDeleted = z.infer<typeof sessionDeleted>
