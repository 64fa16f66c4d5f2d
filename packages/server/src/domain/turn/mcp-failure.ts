/** MCP servers that are not there, or not as they were: told once per turn, server and kind. Nothing waits for them. */
import type { Report } from '@berth/protocol'
import type { SystemMessage } from './sdk-message.ts'
import type { TurnLog } from './turn-log.ts'

type Kind = Extract<Report, { type: 'mcp_failure' }>['kind']

/** Of a server of the web, as the runner tells it. */
export function failRemote(log: TurnLog, report: Extract<Report, { type: 'mcp_failure' }>): void {
  const server = log.context.tools.mcpServers.find(({ linkName }) => linkName === report.server)
  if (server !== undefined) tell(log, { name: server.name, kind: report.kind, why: report.detail })
}

const reasons: Readonly<Record<string, string>> = {
  failed: 'its program ended, or did not answer as an MCP server does',
  pending: 'it has not answered yet',
}

/** Of those that run in the sandbox, as the CLI tells it at the beginning of a turn. */
export function failLocal(log: TurnLog, message: Extract<SystemMessage, { subtype: 'init' }>): void {
  for (const { name, status } of message.mcp_servers) {
    const server = log.context.tools.mcpServers.find(({ linkName }) => linkName === name)
    if (server?.place.type !== 'stdio' || status === 'connected') continue
    tell(log, { name: server.name, kind: 'connection', why: reasons[status] ?? `it is ${status.slice(0, 100)}` })
  }
}

function tell(log: TurnLog, { name, kind, why }: { name: string; kind: Kind; why: string }): void {
  // What was found in a list of tools is always news.
  if (kind !== 'tools') {
    const key = `${kind} ${name}`
    if (log.turn.mcpFailures.includes(key)) return
    log.turn.mcpFailures.push(key)
  }
  const message = `MCP server ${name}: ${why}`.slice(0, 2_000)
  const error = { mcp_server_name: name, message, retry_status: { type: 'retrying' as const } }
  switch (kind) {
    case 'authentication':
      log.add({ type: 'session.error', error: { type: 'mcp_authentication_failed_error', ...error } })
      return
    case 'connection':
    // The profile has no name of its own for a server that is there and is not to be trusted.
    case 'tools':
      log.add({ type: 'session.error', error: { type: 'mcp_connection_failed_error', ...error } })
      return
    default:
      kind satisfies never
  }
}
