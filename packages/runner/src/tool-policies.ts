import type { LinkPermissionPolicy, SessionConfig } from '@berth/protocol/link'

/** Prefix under which the CLI knows the tools of the server `custom`. */
export const CUSTOM_PREFIX = 'mcp__custom__'

/** What happens when the model calls the tool that the CLI knows by this name. One that the config does not have is denied. */
export function policyOf(config: SessionConfig, cliName: string): LinkPermissionPolicy {
  if (cliName.startsWith(CUSTOM_PREFIX)) {
    return config.custom_tools.some(({ name }) => CUSTOM_PREFIX + name === cliName) ? 'always_allow' : 'deny'
  }
  for (const server of config.mcp_servers) {
    const prefix = `mcp__${server.name}__`
    if (!cliName.startsWith(prefix)) continue
    const tool = cliName.slice(prefix.length)
    return server.tools.find(({ name }) => name === tool)?.policy ?? server.other_tools
  }
  return config.tools.find(({ name }) => name === cliName)?.policy ?? 'deny'
}
