import { Refusal } from './refusal.ts'

/**
 * Values of `anthropic-beta` that go upstream: those the CLI sends (captured from 2.1.330 over its permission modes, models and options), and those
 * of its kind that only shape prompt, thinking or output. None of them reaches state outside the request.
 */
const forwarded = new Set([
  'advanced-tool-use-2025-11-20',
  'afk-mode-2026-01-31',
  'auto-mode-classifier-2026-07-16',
  'claude-code-20250219',
  'claude-code-side-query-2026-09-29',
  'compact-2026-01-12',
  'compact-2026-09-04',
  'context-1m-2025-08-07',
  'context-hint-2026-04-09',
  'context-management-2025-06-27',
  'dangerous-tool-use-2026-09-03',
  'effort-2025-11-24',
  'extended-cache-ttl-2025-04-11',
  'fine-grained-tool-streaming-2025-05-14',
  'inline-tools-2026-09-15',
  'interleaved-thinking-2025-05-14',
  'mid-conversation-output-config-2026-07-01',
  'mid-conversation-system-2026-04-07',
  'mid-conversation-system-clear-at-2026-08-21',
  'mid-conversation-tool-changes-2026-07-01',
  'model-context-window-exceeded-2025-08-26',
  'output-128k-2025-02-19',
  'pdfs-2024-09-25',
  'per-turn-control-2026-07-01',
  'prompt-caching-2024-07-31',
  'prompt-caching-scope-2026-01-05',
  'redact-thinking-2026-02-12',
  'server-side-fallback-2026-06-01',
  'server-side-fallback-2026-07-01',
  'structured-outputs-2025-11-13',
  'structured-outputs-2025-12-15',
  'task-budgets-2026-03-13',
  'thinking-binding-controls-2026-08-01',
  'thinking-display-updates-2026-08-18',
  'thinking-token-count-2026-05-13',
  'token-counting-2024-11-01',
  'token-efficient-tools-2025-02-19',
  'tool-search-tool-2025-10-19',
])

/** Families that only make sense with a server-side tool: they go upstream when the session may use that tool, else they are refused. */
const ofServerTool: Readonly<Record<string, string>> = {
  'advisor-tool-': 'advisor_',
  'code-execution-': 'code_execution_',
  'web-fetch-': 'web_fetch_',
  'web-search-': 'web_search_',
}

/** Families that open a way to state, machines or peers beyond the request. Refused whatever their date. */
const refused = [
  'agent-memory-',
  'environments-',
  'files-api-',
  'managed-agents-',
  'mcp-client-',
  'mcp-servers-',
  'mcp-tunnels-',
  'message-batches-',
  'message-threads-',
  'skills-',
  'user-profiles-',
]

/**
 * What of a request's betas goes upstream. Values that no table names are dropped: a newer CLI then loses a refinement instead of
 * every request.
 */
export function filterBetas(header: string | undefined, serverTools: readonly string[]): string | undefined {
  if (header === undefined) return undefined
  const kept = new Set<string>()
  for (const value of header.split(',').map((part) => part.trim().toLowerCase())) {
    if (refused.some((family) => value.startsWith(family))) throw refusal(value)
    const family = Object.keys(ofServerTool).find((prefix) => value.startsWith(prefix))
    if (family === undefined ? forwarded.has(value) : allowsServerTool(serverTools, ofServerTool[family] ?? family)) {
      kept.add(value)
    } else if (family !== undefined) {
      throw refusal(value)
    }
  }
  return kept.size === 0 ? undefined : [...kept].join(',')
}

/** `allowed` are type prefixes of the session's route, such as `web_search`; an empty prefix allows nothing. */
export function allowsServerTool(allowed: readonly string[], type: string): boolean {
  return allowed.some((prefix) => prefix !== '' && type.startsWith(prefix))
}

function refusal(value: string): Refusal {
  return new Refusal(400, `anthropic-beta: ${JSON.stringify(value.slice(0, 64))} is not available in a sandbox`)
}
