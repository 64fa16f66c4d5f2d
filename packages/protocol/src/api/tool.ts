/** The tools of an agent: as a client names them (`…Params`) and as the API answers them, with every default filled in. */
import { z } from 'zod'
import { idText, text } from './text.ts'

export const sandboxToolNames = ['bash', 'read', 'write', 'edit', 'glob', 'grep'] as const
export const webToolNames = ['web_fetch', 'web_search'] as const
export type SandboxToolName = (typeof sandboxToolNames)[number]

export const toolLimits = { tools: 256, mcpServers: 20, domains: 64 } as const
export const stdioLimits = { command: 1024, args: 64, arg: 4096, variables: 64, variable: 4096 } as const

export const permissionPolicy = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('always_allow') }),
  z.strictObject({ type: z.literal('always_ask') }),
  z.strictObject({ type: z.literal('auto') }),
])
export type PermissionPolicy = z.infer<typeof permissionPolicy>

const choiceParams = { enabled: z.boolean().nullish(), permission_policy: permissionPolicy.nullish() }
const choice = { enabled: z.boolean(), permission_policy: permissionPolicy }

const named = <Name extends string>(name: Name) => ({ name: z.literal(name), type: z.literal(name) })
const toolParams = <Name extends string>(name: Name) =>
  z.strictObject({ name: z.literal(name), type: z.literal(name).optional(), ...choiceParams })
const tool = <Name extends string>(name: Name) => z.object({ ...named(name), ...choice })

const domains = z
  .array(text({ min: 1, max: 255 }))
  .min(1)
  .max(toolLimits.domains)
  .optional()
const domainLists = { allowed_domains: domains, blocked_domains: domains }
const place = text({ max: 255 }).nullish()
const userLocation = z.strictObject({
  type: z.literal('approximate'),
  city: place,
  country: place,
  region: place,
  timezone: place,
})

const toolReferences = z.array(z.strictObject({ type: z.literal('tool_reference'), name: text({ min: 1, max: 255 }) }))
const allOrNone = [z.strictObject({ type: z.literal('all') }), z.strictObject({ type: z.literal('none') })] as const
const shorthand = z.enum(['all', 'none'])
const sourceFilter = z
  .union([
    shorthand,
    z.discriminatedUnion('type', [
      ...allOrNone,
      z.strictObject({ type: z.literal('only'), tools: toolReferences }),
      z.strictObject({ type: z.literal('except'), tools: toolReferences }),
    ]),
  ])
  .nullish()
const urlSourcesParams = z.strictObject({
  user_input: z.union([shorthand, z.discriminatedUnion('type', [...allOrNone])]).nullish(),
  client_tool_results: sourceFilter,
  server_tool_results: sourceFilter,
})

/** One entry of a toolset's `configs`. */
export const toolConfigParams = z.discriminatedUnion('name', [
  toolParams('bash'),
  toolParams('read'),
  toolParams('write'),
  toolParams('edit'),
  toolParams('glob'),
  toolParams('grep'),
  toolParams('web_fetch').extend({
    ...domainLists,
    max_content_tokens: z.int().min(1).nullish(),
    url_sources: urlSourcesParams.nullish(),
  }),
  toolParams('web_search').extend({ ...domainLists, user_location: userLocation.nullish() }),
])
export type ToolConfigParams = z.infer<typeof toolConfigParams>

export const toolConfig = z.discriminatedUnion('name', [
  tool('bash'),
  tool('read'),
  tool('write'),
  tool('edit'),
  tool('glob'),
  tool('grep'),
  tool('web_fetch').extend({ url_sources: z.null() }),
  tool('web_search'),
])
export type ToolConfig = z.infer<typeof toolConfig>

export const agentToolsetParams = z
  .strictObject({
    type: z.literal('agent_toolset_20260401'),
    default_config: z.strictObject(choiceParams).nullish(),
    configs: z
      .array(toolConfigParams)
      .max(sandboxToolNames.length + webToolNames.length)
      .optional(),
  })
  .meta({ id: 'AgentToolsetParams' })
export type AgentToolsetParams = z.infer<typeof agentToolsetParams>

export const agentToolset = z
  .object({
    type: z.literal('agent_toolset_20260401'),
    default_config: z.object(choice),
    configs: z.array(toolConfig),
  })
  .meta({ id: 'AgentToolset' })
export type AgentToolset = z.infer<typeof agentToolset>

export const mcpToolsetParams = z
  .strictObject({
    type: z.literal('mcp_toolset'),
    mcp_server_name: text({ min: 1, max: 255 }),
    default_config: z.strictObject(choiceParams).nullish(),
    configs: z
      .array(z.strictObject({ name: text({ min: 1, max: 128 }), ...choiceParams }))
      .max(toolLimits.tools)
      .optional(),
  })
  .meta({ id: 'McpToolsetParams' })
export type McpToolsetParams = z.infer<typeof mcpToolsetParams>

export const mcpToolset = z
  .object({
    type: z.literal('mcp_toolset'),
    mcp_server_name: z.string(),
    default_config: z.object(choice),
    configs: z.array(z.object({ name: z.string(), ...choice })),
  })
  .meta({ id: 'McpToolset' })
export type McpToolset = z.infer<typeof mcpToolset>

/** JSON Schema of a custom tool's input, kept as it comes. */
const inputSchema = z.looseObject({
  type: z.literal('object'),
  properties: z.record(z.string(), z.unknown()).nullish(),
  required: z.array(z.string()).nullish(),
})

/** A tool that the client carries out. The same in requests and answers. */
export const customTool = z
  .strictObject({
    type: z.literal('custom'),
    name: idText,
    description: text({ max: 100_000 }),
    input_schema: inputSchema,
  })
  .meta({ id: 'CustomTool' })
export type CustomTool = z.infer<typeof customTool>

export const agentToolParams = z.discriminatedUnion('type', [agentToolsetParams, mcpToolsetParams, customTool])
export type AgentToolParams = z.infer<typeof agentToolParams>

export const agentTool = z.discriminatedUnion('type', [agentToolset, mcpToolset, customTool])
export type AgentTool = z.infer<typeof agentTool>

export const toolsParams = z.array(agentToolParams).max(toolLimits.tools)

export const mcpServerParams = z
  .strictObject({ type: z.literal('url'), name: text({ min: 1, max: 255 }), url: text({ min: 1, max: 2048 }) })
  .meta({ id: 'McpServerParams' })
export type McpServerParams = z.infer<typeof mcpServerParams>
export const mcpServersParams = z.array(mcpServerParams).max(toolLimits.mcpServers)

const variableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, { error: 'must be a name of a variable' })

/** Ours: an MCP server that runs in the session's sandbox, as the agent does. `env` is shown to whoever may read the agent: no place for a secret. */
export const stdioServerParams = z
  .strictObject({
    type: z.literal('stdio'),
    name: text({ min: 1, max: 255 }),
    command: text({ min: 1, max: stdioLimits.command }),
    args: z
      .array(text({ max: stdioLimits.arg }))
      .max(stdioLimits.args)
      .optional(),
    env: z
      .record(variableName, text({ max: stdioLimits.variable }))
      .refine((env) => Object.keys(env).length <= stdioLimits.variables, {
        error: `must have at most ${stdioLimits.variables} variables`,
      })
      .optional(),
  })
  .meta({ id: 'StdioServerParams' })
export const stdioServersParams = z.array(stdioServerParams).max(toolLimits.mcpServers)
export type StdioServerParams = z.infer<typeof stdioServerParams>

export const stdioServer = z
  .object({
    type: z.literal('stdio'),
    name: z.string(),
    command: z.string(),
    args: z.array(z.string()),
    env: z.record(z.string(), z.string()),
  })
  .meta({ id: 'StdioServer' })
export type StdioServer = z.infer<typeof stdioServer>
