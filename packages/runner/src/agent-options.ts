import type { CanUseTool, Options } from '@anthropic-ai/claude-agent-sdk'
import type { SessionConfig } from '@berth/protocol/link'
import type { Answers } from './answers.ts'
import { cliEnvironment, LONGEST_TIMEOUT_MS } from './cli-environment.ts'
import { mayRunCommands } from './allowed-settings.ts'
import type { CustomResult } from './custom-tools.ts'
import type { Gate } from './gate.ts'
import type { RemoteServers } from './mcp/remote-servers.ts'

/** Transcripts are the platform's to remove; the CLI otherwise sweeps those it has not touched for 30 days. */
const KEEP_TRANSCRIPTS_DAYS = 36_500
const settings = { cleanupPeriodDays: KEEP_TRANSCRIPTS_DAYS }
type Servers = NonNullable<Options['mcpServers']>
/** Of the CLI's, those that it offers without its bundled skills, too. */
const OWN_SKILLS = ['doctor', 'plugin-authoring']
/** A socket that nobody listens on. */
const NO_MODEL = '/nowhere/model.sock'

export interface AgentParts {
  readonly config: SessionConfig
  readonly remotes: RemoteServers | undefined
  readonly gate: Gate
  readonly results: Answers<CustomResult>
  /** Where the CLI finds its project's settings; undefined: it has none. */
  readonly projectRoot: string | undefined
}

/** What the Agent SDK is told for a session, everything but how its process is spawned. */
export async function agentOptions({ config, remotes, gate, results, projectRoot }: AgentParts): Promise<Options> {
  const custom = await customTools(config, results)
  return {
    ...commonOptions(config),
    ...(projectRoot === undefined ? {} : projectOptions(config, projectRoot)),
    mcpServers: { ...custom, ...remotes?.offer(), ...stdioServers(config) },
    ...permissions(gate),
    includePartialMessages: true,
  }
}

/**
 * The same for a CLI that only carries out one call. It takes it up before it has heard of any hook, so that `canUseTool` decides: every
 * tool is one that needs to be asked for.
 */
export function heldCallOptions(config: SessionConfig, canUseTool: CanUseTool): Options {
  const ask = [...config.tools.map(({ name }) => name), ...config.mcp_servers.map(({ name }) => `mcp__${name}`)]
  return {
    ...commonOptions({ ...config, resume: true, model_socket: NO_MODEL }),
    mcpServers: stdioServers(config),
    settings: { ...settings, permissions: { ask } },
    permissionMode: 'default',
    canUseTool,
  }
}

function commonOptions(config: SessionConfig): Options {
  return {
    ...identity(config),
    cwd: config.cwd,
    env: cliEnvironment(config),
    model: config.model,
    ...(config.max_turns === null ? {} : { maxTurns: config.max_turns }),
    ...(config.effort === null ? {} : { effort: config.effort }),
    // Without a prompt of its own an agent is no coding assistant: it gets the SDK's short default. Not recorded in the transcript,
    // where it would outlive a change of the agent.
    ...(config.system === null ? {} : { systemPrompt: { type: 'custom', prompt: config.system, snapshot: false } }),
    tools: config.tools.filter(({ policy }) => policy !== 'deny').map(({ name }) => name),
    disallowedTools: [
      ...denied(config.tools, ''),
      ...config.mcp_servers.flatMap((server) => denied(server.tools, `mcp__${server.name}__`)),
    ],
    mcpServersDelivery: 'initialize',
    strictMcpConfig: true,
    // Unless it is said, nothing in the workspace configures the agent, and a message is text: no slash commands, no `@file`.
    settingSources: [],
    settings,
    verbatimPrompts: true,
    // Otherwise an interrupt ends background tasks too.
    perTaskStopAffordance: true,
  }
}

/**
 * For a workspace that may configure its agent. The CLI reads settings where only the runner writes; of the texts that it reads in the workspace,
 * the hooks and commands of skills are left, which would pass no gate.
 */
function projectOptions(config: SessionConfig, projectConfigRoot: string): Options {
  const isFree = mayRunCommands(config)
  const skillOverrides = Object.fromEntries(OWN_SKILLS.map((name) => [name, 'off' as const]))
  return {
    settingSources: config.setting_sources ?? [],
    projectConfigRoot,
    settings: { ...settings, disableBundledSkills: true, skillOverrides, disableSkillShellExecution: !isFree },
    ...(isFree ? {} : { managedSettings: { allowManagedHooksOnly: true } }),
  }
}

function identity({ sdk_session_id, resume }: SessionConfig): Options {
  return resume ? { resume: sdk_session_id } : { sessionId: sdk_session_id }
}

function denied(tools: SessionConfig['tools'], prefix: string): string[] {
  return tools.filter(({ policy }) => policy === 'deny').map(({ name }) => prefix + name)
}

/** Programs of the sandbox, which the CLI starts under its own uid. It waits for them a while, so that their tools are there in the first turn. */
function stdioServers({ mcp_servers }: SessionConfig): Servers {
  const local = mcp_servers.filter((server) => server.type === 'stdio')
  return Object.fromEntries(
    local.map(({ name, command, args, env }) => [name, { type: 'stdio', command, args, env, alwaysLoad: true }]),
  )
}

async function customTools(config: SessionConfig, results: Answers<CustomResult>): Promise<Servers> {
  if (config.custom_tools.length === 0) return {}
  // Most sessions have none, and the MCP server takes long to load.
  const { customToolsServer } = await import('./custom-tools.ts')
  return { custom: customToolsServer(config.custom_tools, results) }
}

/** The gate's hook decides. The CLI's own prompts reach `canUseTool`: they concern how a call is done, never whether. */
function permissions(gate: Gate): Options {
  return {
    permissionMode: 'default',
    hooks: {
      PreToolUse: [
        {
          hooks: [(input, _id, { signal }) => gate.decide(input, signal)],
          timeout: LONGEST_TIMEOUT_MS / 1_000,
          onFailure: 'block',
        },
      ],
    },
    canUseTool: (name, input, { toolUseID }) =>
      Promise.resolve(
        gate.hasAllowed(toolUseID)
          ? { behavior: 'allow', updatedInput: input }
          : { behavior: 'deny', message: `The tool ${name} is not allowed in this session.` },
      ),
  }
}
