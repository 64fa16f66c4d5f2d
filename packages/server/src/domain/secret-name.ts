/** Names of variables that mean something to the platform inside of a sandbox: no credential may take one of them. */

const reserved = new Set([
  'PATH',
  'HOME',
  'LANG',
  'LANGUAGE',
  'TERM',
  'SHELL',
  'USER',
  'LOGNAME',
  'PWD',
  'OLDPWD',
  'TMPDIR',
  'IFS',
  'ENV',
  'SHELLOPTS',
  'PROMPT_COMMAND',
  // No name that an object of ours can have.
  '__PROTO__',
  'CLAUDECODE',
  'MCP_TIMEOUT',
  'MCP_TOOL_TIMEOUT',
  'DISABLE_TELEMETRY',
  'DISABLE_ERROR_REPORTING',
  'DISABLE_AUTOUPDATER',
  'ENABLE_TOOL_SEARCH',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'CURL_CA_BUNDLE',
  'REQUESTS_CA_BUNDLE',
  'PIP_CERT',
  'AWS_CA_BUNDLE',
  'DENO_CERT',
  'CARGO_HTTP_CAINFO',
  'NPM_CONFIG_CAFILE',
  'NIX_SSL_CERT_FILE',
  'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
])

const reservedPrefixes = [
  'LC_',
  'LD_',
  'DYLD_',
  'GLIBC_',
  'BASH_',
  'NODE_',
  'ANTHROPIC_',
  'CLAUDE_',
  'BERTH_',
  'GIT_HTTP_',
  'GIT_SSL_',
  'GIT_CONFIG',
]

/** Whatever the case: programs read some of these names in either. */
export function isReservedName(name: string): boolean {
  const upper = name.toUpperCase()
  return reserved.has(upper) || upper.endsWith('_PROXY') || reservedPrefixes.some((prefix) => upper.startsWith(prefix))
}
