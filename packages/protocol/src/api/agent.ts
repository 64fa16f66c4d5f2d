/** Agents: versioned definitions of who runs in a session. */
import { z } from 'zod'
import { limits, limitsParams } from './limits.ts'
import { metadata, metadataPatch } from './metadata.ts'
import { idText, none, text, timestamp } from './text.ts'
import { agentTool, mcpServerParams, mcpServersParams, stdioServer, stdioServersParams, toolsParams } from './tool.ts'

export const agentLimits = { name: 256, description: 2048, system: 100_000, skills: 20 } as const

export const effortLevels = ['low', 'medium', 'high', 'xhigh', 'max'] as const
export type EffortLevel = (typeof effortLevels)[number]

const effortObject = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('low') }),
  z.strictObject({ type: z.literal('medium') }),
  z.strictObject({ type: z.literal('high') }),
  z.strictObject({ type: z.literal('xhigh') }),
  z.strictObject({ type: z.literal('max') }),
])

const modelId = text({ min: 1, max: 256 }).regex(/^\S+$/, { error: 'must be a model id without spaces' })

export const modelParams = z.union([
  modelId,
  z.strictObject({
    id: modelId,
    effort: z.union([z.enum(effortLevels), effortObject]).nullish(),
    inference_geo: z.string().nullish(),
    speed: z.enum(['standard', 'fast']).nullish(),
  }),
])
export type ModelParams = z.infer<typeof modelParams>

export const model = z
  .object({ id: z.string(), effort: effortObject, speed: z.literal('standard') })
  .meta({ id: 'Model' })
export type Model = z.infer<typeof model>

export const executionIdentityParams = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('service_account') }),
  z.strictObject({ type: z.literal('aws_role'), role_arn: text({ min: 1, max: 2048 }) }),
])

/** Refused in full when present, so nothing but their kind is looked at. */
export const skillsParams = z.array(z.object({ type: z.enum(['anthropic', 'custom']) })).max(agentLimits.skills)
/** Ours: what the profile cannot say. */
export const berthAgentParams = z
  .strictObject({ limits: limitsParams.nullish(), mcp_servers: stdioServersParams.nullish() })
  .nullish()
const multiagentParams = z.object({ type: z.enum(['coordinator', 'multiagent_20261001']) })

export const systemParams = text({ max: agentLimits.system }).nullish()
const name = text({ min: 1, max: agentLimits.name })
const description = text({ max: agentLimits.description }).nullish()

export const createAgentBody = z
  .strictObject({
    name,
    model: modelParams,
    description,
    system: systemParams,
    tools: toolsParams.optional(),
    mcp_servers: mcpServersParams.optional(),
    skills: skillsParams.optional(),
    multiagent: multiagentParams.nullish(),
    execution_identity: executionIdentityParams.nullish(),
    metadata: metadata.optional(),
    berth: berthAgentParams,
  })
  .meta({ id: 'CreateAgentParams' })
export type CreateAgentBody = z.infer<typeof createAgentBody>

/** Omitted keeps. `null` clears what can be cleared, lists are replaced, `metadata` is merged. */
export const updateAgentBody = z
  .strictObject({
    version: z.int().min(1).optional(),
    name: name.optional(),
    model: modelParams.optional(),
    description,
    system: systemParams,
    tools: toolsParams.nullish(),
    mcp_servers: mcpServersParams.nullish(),
    skills: skillsParams.nullish(),
    multiagent: multiagentParams.nullish(),
    execution_identity: executionIdentityParams.nullish(),
    metadata: metadataPatch.nullish(),
    berth: berthAgentParams,
  })
  .meta({ id: 'UpdateAgentParams' })
export type UpdateAgentBody = z.infer<typeof updateAgentBody>

/** What a version of an agent says, and what a session holds of it. */
export const agentDefinition = z.object({
  name: z.string(),
  description: z.string().nullable(),
  model,
  system: z.string().nullable(),
  tools: z.array(agentTool),
  mcp_servers: z.array(mcpServerParams),
  skills: none,
  multiagent: z.null(),
  execution_identity: z.object({ type: z.literal('service_account') }),
  berth: z.object({ limits, mcp_servers: z.array(stdioServer) }),
})
export type AgentDefinition = z.infer<typeof agentDefinition>

export const agent = agentDefinition
  .extend({
    id: idText,
    type: z.literal('agent'),
    version: z.int(),
    metadata,
    created_at: timestamp,
    updated_at: timestamp,
    archived_at: timestamp.nullable(),
  })
  .meta({ id: 'Agent' })
export type Agent = z.infer<typeof agent>
