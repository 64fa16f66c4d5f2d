/** A session's way to its remote MCP servers, as the gateway is told it. */
import type { McpRoute } from '@berth/protocol'
import { toMcpPolicy } from '../domain/networking.ts'
import { parseSessionAgent } from '../domain/session.ts'
import { toolsOf } from '../domain/toolset.ts'
import type { SessionRow } from '../store/session-log.ts'
import { environmentOf, mcpSocket } from './session-config.ts'

/** A sandbox of this machine. */
interface Place {
  readonly runDir: string
  readonly uidBase: number
}

/** undefined: it has no such servers. */
export function toMcpRoute(row: SessionRow, { runDir, uidBase }: Place): McpRoute | undefined {
  const servers = remoteServers(row)
  if (servers.length === 0) return undefined
  const { networking } = environmentOf(row)
  return {
    socket_path: mcpSocket(runDir, row.uid),
    // Of the runner, past whose gate the agent's own processes could call a tool.
    owner_uid: uidBase,
    policy: toMcpPolicy(
      networking,
      servers.map(({ url }) => url),
    ),
    servers,
  }
}

/** Does the session's way lead elsewhere than it did? */
export function hasOtherServers(before: SessionRow, now: SessionRow): boolean {
  return before.agent !== now.agent && JSON.stringify(remoteServers(before)) !== JSON.stringify(remoteServers(now))
}

function remoteServers(row: SessionRow): McpRoute['servers'] {
  return toolsOf(parseSessionAgent(row.agent)).mcpServers.flatMap(({ linkName, place }) =>
    place.type === 'remote' ? [{ name: linkName, url: place.url }] : [],
  )
}
