import type { CanUseTool, Options } from '@anthropic-ai/claude-agent-sdk'
import type { SessionConfig } from '@berth/protocol/link'
import type { Answers } from './answers.ts'
import { cliEnvironment, LONGEST_TIMEOUT_MS } from './cli-environment.ts'
import type { CustomResult } from './custom-tools.ts'
import type { Gate } from './gate.ts'

/** Transcripts are the platform's to remove; the CLI otherwise sweeps those it has not touched for 30 days. */
const KEEP_TRANSCRIPTS_DAYS = 36_500
const settings = { cleanupPeriodDays: KEEP_TRANSCRIPTS_DAYS }
/** A socket that nobody listens on. */
const NO_MODEL = '/nowhere/model.sock'

/** What the Agent SDK is told for a session, everything but how its process is spawned. */
export async function agentOptions(
  config: SessionConfig,
  gate: Gate,
  results: Answers<CustomResult>,
): Promise<Options> {
  return {
    ...commonOptions(config),
    ...(await customTools(config, results)),
    ...permissions(gate),
    includePartialMessages: true,
  }
}

/**
 * The same for a CLI that only carries out one call. It takes it up before it has heard of any hook, so that `canUseTool` decides: every
 * tool is one that needs to be asked for.
 */
export function heldCallOptions(config: SessionConfig, canUseTool: CanUseTool): Options {
  const ask = config.tools.map(({ name }) => name)
  return {
    ...commonOptions({ ...config, resume: true, model_socket: NO_MODEL }),
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
    disallowedTools: config.tools.filter(({ policy }) => policy === 'deny').map(({ name }) => name),
    // Nothing in the workspace configures the agent, and a message is text: no slash commands, no `@file`.
    settingSources: [],
    settings,
    verbatimPrompts: true,
    // Otherwise an interrupt ends background tasks too.
    perTaskStopAffordance: true,
  }
}

function identity({ sdk_session_id, resume }: SessionConfig): Options {
  return resume ? { resume: sdk_session_id } : { sessionId: sdk_session_id }
}

async function customTools(config: SessionConfig, results: Answers<CustomResult>): Promise<Options> {
  const delivery: Options = { mcpServersDelivery: 'initialize', strictMcpConfig: true }
  if (config.custom_tools.length === 0) return delivery
  // Most sessions have none, and the MCP server takes long to load.
  const { customToolsServer } = await import('./custom-tools.ts')
  return { ...delivery, mcpServers: { custom: customToolsServer(config.custom_tools, results) } }
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
