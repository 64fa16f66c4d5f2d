import type { SessionConfig } from '@berth/protocol/link'
import { join } from 'node:path'

/** Folder of the transcripts under `<config dir>/projects`, the same whatever the working directory. */
export const PROJECT_DIR_NAME = 'session'

/** Longest a timer of Node and of the CLI can run, a little under 2^31 ms: 24 days. */
export const LONGEST_TIMEOUT_MS = 2_000_000_000

/**
 * The CLI's whole environment: nothing is inherited. It sends the model's traffic to the session's socket, keeps the CLI from calling
 * anything else, and puts all it writes under the session's home. `config.env` adds to it and can change nothing of it.
 */
export function cliEnvironment(config: SessionConfig): Record<string, string> {
  const temporary = join(config.home, '.tmp')
  return {
    ...config.env,
    PATH: '/usr/local/bin:/usr/bin:/bin',
    LANG: 'C.UTF-8',
    TERM: 'dumb',
    HOME: config.home,
    // In the home and not in /tmp, where another session could have made it first.
    TMPDIR: temporary,
    CLAUDE_CODE_TMPDIR: temporary,
    CLAUDE_CONFIG_DIR: join(config.home, '.claude'),
    CLAUDE_CODE_PROJECT_DIR_NAME: PROJECT_DIR_NAME,
    // The socket is used only with a plain http base; the gateway knows the session by the socket and puts in the real key.
    ANTHROPIC_BASE_URL: 'http://model.berth.internal',
    ANTHROPIC_UNIX_SOCKET: config.model_socket,
    ANTHROPIC_API_KEY: 'berth-placeholder-key',
    CLAUDE_CODE_MAX_RETRIES: String(config.max_retries),
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    CLAUDE_CODE_DISABLE_AUTO_MEMORY: '1',
    DISABLE_TELEMETRY: '1',
    DISABLE_ERROR_REPORTING: '1',
    DISABLE_AUTOUPDATER: '1',
    CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS: '1',
    CLAUDE_CODE_STARTUP_FAILURE_RESULTS: '1',
    // All tools of MCP servers stand in the request: what finds them otherwise is a tool that an agent does not have.
    ENABLE_TOOL_SEARCH: 'false',
    MCP_TOOL_TIMEOUT: String(LONGEST_TIMEOUT_MS),
  }
}
