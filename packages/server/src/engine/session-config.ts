/** What a session's runner is told: the effective agent and the places in the sandbox. */
import { createHmac } from 'node:crypto'
import type { SessionConfig } from '@berth/protocol'
import { environmentConfig } from '@berth/protocol/api/environment'
import { parseSessionAgent } from '../domain/session.ts'
import { dirsOf } from '../domain/session-dirs.ts'
import { inside, type SandboxLimits } from '@berth/sandbox'
import { toLinkServer } from '../domain/mcp-servers.ts'
import { sessionTools } from '../domain/session-tools.ts'
import type { SessionRow } from '../store/session-log.ts'

const MIB = 1024 * 1024

/** What of a session says how it is run. */
export type RunnableSession = Pick<SessionRow, 'name_inside' | 'uid' | 'subdir' | 'agent' | 'environment'>

/** `nonce`: of the sandbox's launch; `variables`: of the session's vaults, with their placeholders. */
export function toSessionConfig(
  row: RunnableSession,
  nonce: string,
  variables: Readonly<Record<string, string>> = {},
): Omit<SessionConfig, 'sdk_session_id' | 'resume'> {
  const agent = parseSessionAgent(row.agent)
  const { berth } = environmentOf(row)
  const { home, cwd, outputs, own } = dirsOf(row)
  const { tools, customTools, mcpServers } = sessionTools(agent, row)
  return {
    uid: row.uid,
    cwd,
    home,
    own_dirs: own,
    model: agent.model.id,
    effort: agent.model.effort.type,
    system: agent.system,
    tools: tools.map((tool) => ({ name: tool.cliName, policy: tool.policy })),
    custom_tools: customTools.map((tool) => ({
      name: tool.name,
      description: tool.description,
      input_schema: { ...tool.input_schema },
    })),
    mcp_servers: mcpServers.map(toLinkServer),
    ...(mcpServers.some(({ place }) => place.type === 'remote') ? { mcp_socket: mcpSocket(inside.run, row.uid) } : {}),
    model_socket: modelSocket(inside.run, row.uid),
    egress: { socket: egressSocket(inside.run, row.uid), credential: egressCredential(nonce, row.uid) },
    ...(berth.setting_sources.length === 0 ? {} : { setting_sources: berth.setting_sources }),
    max_turns: agent.berth.limits.max_turns,
    max_retries: berth.model_retries,
    env: { ...variables, BERTH_OUTPUTS: outputs },
  }
}

/**
 * Path of a session's model socket below a sandbox's run directory, seen from the host or from inside. Named by the session's uid, which is
 * unique in a sandbox and short: the kernel allows a socket's path 107 bytes.
 */
export function modelSocket(runDir: string, uid: number): string {
  return `${runDir}/gw/${uid}/model.sock`
}

/** The same of its way out. */
export function egressSocket(runDir: string, uid: number): string {
  return `${runDir}/gw/${uid}/egress.sock`
}

/** The same of its way to MCP servers. */
export function mcpSocket(runDir: string, uid: number): string {
  return `${runDir}/gw/${uid}/mcp.sock`
}

/**
 * The password of the way out of a sandbox's uid. It follows from the launch's own secret, so that nobody has to keep it, and ends with
 * that launch.
 */
export function egressCredential(nonce: string, uid: number): string {
  return createHmac('sha256', nonce).update(`egress ${uid}`).digest('base64url')
}

export function toLimits(row: Pick<SessionRow, 'environment'>): SandboxLimits {
  const { resources } = environmentOf(row).berth
  return {
    cpus: resources.cpus,
    memoryBytes: resources.memory_mib * MIB,
    diskBytes: resources.disk_mib * MIB,
    pids: resources.pids,
    files: resources.files,
  }
}

export function environmentOf(row: Pick<SessionRow, 'environment'>): ReturnType<typeof environmentConfig.parse> {
  return environmentConfig.parse(JSON.parse(row.environment))
}
