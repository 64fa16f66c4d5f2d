/**
 * Every setting there is, in one table: the command line makes its flags from it, `config.ts` reads by it, and the reference page
 * (`docs/reference/configuration.md`) is held to it by a test.
 */
export interface Setting {
  readonly env: string
  /** null: not on the command line, where other users of the machine could read it. */
  readonly flag: string | null
  /** Key in the configuration file; null: not in it. */
  readonly key: string | null
  /** As one would write it, or in words where it depends on something. */
  readonly default: string
  readonly meaning: string
  /** Never shown: not in messages, not in logs. */
  readonly secret: boolean
}

export const settings = {
  config: {
    env: 'BERTH_CONFIG',
    flag: '--config',
    key: null,
    default: 'none',
    meaning: 'A JSON file with further settings, by the keys of this table.',
    secret: false,
  },
  listen: {
    env: 'BERTH_LISTEN',
    flag: '--listen',
    key: 'listen',
    default: '127.0.0.1:7071',
    meaning: 'Address and port to listen on; an IPv6 address in brackets. Port 0 takes a free one.',
    secret: false,
  },
  dataDir: {
    env: 'BERTH_DATA_DIR',
    flag: '--data-dir',
    key: 'data_dir',
    default: '/var/lib/berth for root, else $XDG_STATE_HOME/berth or ~/.local/state/berth',
    meaning: 'Directory for the database, sandboxes and everything else that lasts.',
    secret: false,
  },
  apiKey: {
    env: 'BERTH_API_KEY',
    flag: null,
    key: null,
    default: 'made at the first start',
    meaning: 'An API key of the default workspace that is to exist.',
    secret: true,
  },
  model: {
    env: 'BERTH_MODEL',
    flag: '--model',
    key: 'model',
    default: 'anthropic with ANTHROPIC_API_KEY, else scripted',
    meaning: 'What answers model requests: anthropic, or scripted (needs no key, costs nothing).',
    secret: false,
  },
  anthropicBaseUrl: {
    env: 'ANTHROPIC_BASE_URL',
    flag: '--anthropic-base-url',
    key: 'anthropic_base_url',
    default: 'https://api.anthropic.com',
    meaning: 'The Messages API behind the model gateway.',
    secret: false,
  },
  anthropicApiKey: {
    env: 'ANTHROPIC_API_KEY',
    flag: null,
    key: null,
    default: 'none',
    meaning: 'The key that the model gateway adds. It never enters a sandbox.',
    secret: true,
  },
  upstreamSocket: {
    env: 'BERTH_UPSTREAM_SOCKET',
    flag: '--upstream-socket',
    key: 'upstream_socket',
    default: 'none',
    meaning: 'Unix socket that the model gateway connects to instead of the host of ANTHROPIC_BASE_URL.',
    secret: false,
  },
  upstreamConnectSeconds: {
    env: 'BERTH_UPSTREAM_CONNECT_SECONDS',
    flag: '--upstream-connect-seconds',
    key: 'upstream_connect_seconds',
    default: '60',
    meaning: 'How long the model gateway waits for a connection to the Messages API.',
    secret: false,
  },
  upstreamIdleSeconds: {
    env: 'BERTH_UPSTREAM_IDLE_SECONDS',
    flag: '--upstream-idle-seconds',
    key: 'upstream_idle_seconds',
    default: '600',
    meaning: 'How long a model request may stand still, in either direction, before the gateway ends it.',
    secret: false,
  },
  egressDns: {
    env: 'BERTH_EGRESS_DNS',
    flag: '--egress-dns',
    key: 'egress_dns',
    default: "the machine's own",
    meaning:
      'DNS servers (address or address:port, by commas) that are asked about hosts that sandboxes want to reach.',
    secret: false,
  },
  egressNetworks: {
    env: 'BERTH_EGRESS_NETWORKS',
    flag: '--egress-networks',
    key: 'egress_networks',
    default: 'none',
    meaning:
      'Private networks (by commas, such as 10.1.0.0/16) that sandboxes may reach, by the names of allowed hosts.',
    secret: false,
  },
  egressCaFile: {
    env: 'BERTH_EGRESS_CA_FILE',
    flag: '--egress-ca-file',
    key: 'egress_ca_file',
    default: 'none',
    meaning: 'Certificates (PEM) of further authorities that hosts are judged by where secrets are sent to them.',
    secret: false,
  },
  egressUploadLimit: {
    env: 'BERTH_EGRESS_UPLOAD_LIMIT',
    flag: '--egress-upload-limit',
    key: 'egress_upload_limit',
    default: '4GiB',
    meaning: 'What a session may send to hosts in all its time: bytes, or such as 500MB or 4GiB; none: any amount.',
    secret: false,
  },
  allowedHosts: {
    env: 'BERTH_ALLOWED_HOSTS',
    flag: '--allowed-hosts',
    key: 'allowed_hosts',
    default: 'none',
    meaning:
      'Names (name or name:port, by commas) under which the server may be called, besides loopback and its own address.',
    secret: false,
  },
  allowedOrigins: {
    env: 'BERTH_ALLOWED_ORIGINS',
    flag: '--allowed-origins',
    key: 'allowed_origins',
    default: 'none',
    meaning: 'Origins (by commas) of web pages that may call the server, besides its own.',
    secret: false,
  },
  portsListen: {
    env: 'BERTH_PORTS_LISTEN',
    flag: '--ports-listen',
    key: 'ports_listen',
    default: '127.0.0.1, the port after that of BERTH_LISTEN or else a free one',
    meaning: 'Address and port on which ports of sandboxes are served.',
    secret: false,
  },
  portsDomain: {
    env: 'BERTH_PORTS_DOMAIN',
    flag: '--ports-domain',
    key: 'ports_domain',
    default: 'localhost',
    meaning:
      'Domain below which every port of a sandbox has a host name of its own (name or name:port); by https, unless it is localhost.',
    secret: false,
  },
  vaultKeyFile: {
    env: 'BERTH_VAULT_KEY_FILE',
    flag: '--vault-key-file',
    key: 'vault_key_file',
    default: 'vault.key in the data directory, made at the first start',
    meaning: 'A file with the key by which vaults are sealed: 32 bytes in base64, readable by its owner alone.',
    secret: false,
  },
  vaultKeyCommand: {
    env: 'BERTH_VAULT_KEY_COMMAND',
    flag: '--vault-key-command',
    key: 'vault_key_command',
    default: 'none',
    meaning: 'A shell command that prints that key, run once at the start, instead of a file.',
    secret: false,
  },
  ociRuntime: {
    env: 'BERTH_OCI_RUNTIME',
    flag: '--oci-runtime',
    key: 'oci_runtime',
    default: 'crun, else runc',
    meaning: 'The OCI runtime that makes sandboxes: the name of a system program, or a path.',
    secret: false,
  },
  checkpointsPerSession: {
    env: 'BERTH_CHECKPOINTS_PER_SESSION',
    flag: '--checkpoints-per-session',
    key: 'checkpoints_per_session',
    default: '50',
    meaning: 'How many checkpoints a session keeps. The newest is always kept.',
    secret: false,
  },
  warmSandboxes: {
    env: 'BERTH_WARM_SANDBOXES',
    flag: '--warm-sandboxes',
    key: 'warm_sandboxes',
    default: '8',
    meaning: 'How many sandboxes all warm pools may keep together; 0: none.',
    secret: false,
  },
  prices: {
    env: 'BERTH_PRICES',
    flag: '--prices',
    key: 'prices',
    default: 'the public list prices',
    meaning: 'A JSON file with prices of models, laid over the public list prices.',
    secret: false,
  },
  workspaceDailyLimit: {
    env: 'BERTH_WORKSPACE_DAILY_LIMIT',
    flag: '--workspace-daily-limit',
    key: 'workspace_daily_limit',
    default: 'none',
    meaning: 'What the model requests of each workspace may cost per day (UTC), in USD at list prices.',
    secret: false,
  },
  sandboxHourUsd: {
    env: 'BERTH_SANDBOX_HOUR_USD',
    flag: '--sandbox-hour-usd',
    key: 'sandbox_hour_usd',
    default: '0.05',
    meaning: 'What an hour of a sandbox costs you, in USD. It is reported beside list costs, never in them.',
    secret: false,
  },
  logLevel: {
    env: 'BERTH_LOG_LEVEL',
    flag: '--log-level',
    key: 'log_level',
    default: 'info',
    meaning: 'trace, debug, info, warn, error or silent.',
    secret: false,
  },
} as const satisfies Record<string, Setting>
export type SettingName = keyof typeof settings
