/**
 * Every setting there is, in one table: the command line makes its flags from it, the reference page is held to it. A setting comes from
 * its flag, else its environment variable, else the configuration file, else its default; an empty variable counts as unset.
 */
import { join } from 'node:path'
import { BerthError } from '@berth/protocol'
import { z } from 'zod'

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
  host: {
    env: 'BERTH_HOST',
    flag: '--host',
    key: 'host',
    default: '127.0.0.1',
    meaning: 'Address to listen on.',
    secret: false,
  },
  port: {
    env: 'BERTH_PORT',
    flag: '--port',
    key: 'port',
    default: '7071',
    meaning: 'Port to listen on; 0 takes a free one.',
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
  ociRuntime: {
    env: 'BERTH_OCI_RUNTIME',
    flag: '--oci-runtime',
    key: 'oci_runtime',
    default: 'crun, else runc',
    meaning: 'The OCI runtime that makes sandboxes: a name on the PATH, or a path.',
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

const address = z
  .string()
  .regex(/^[A-Za-z0-9.:-]+$/, { error: 'must be an address or a name, such as 127.0.0.1 or ::1' })
/** In the file it may be a number. */
const portNumber = z
  .union(
    [
      z
        .string()
        .regex(/^\d{1,5}$/)
        .transform(Number),
      z.int(),
    ],
    { error: 'must be a port number, 0 to 65535' },
  )
  .refine((port) => port >= 0 && port <= 65_535, { error: 'must be a port number, 0 to 65535' })

const list = (item: z.ZodString) =>
  z
    .union([z.string().transform((value) => value.split(',').map((part) => part.trim())), z.array(z.string())])
    .transform((parts) => parts.filter((part) => part !== ''))
    .pipe(z.array(item))

const hostName = z.string().regex(/^(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/, {
  error: 'must be names such as berth.example or berth.example:8080',
})
const origin = z.string().refine((value) => URL.canParse(value) && new URL(value).origin === value, {
  error: 'must be origins such as https://console.example',
})
const httpUrl = z.url({ protocol: /^https?$/, error: 'must be a URL of http or https' })
const printable = z.string().regex(/^[\x21-\x7e]+$/, { error: 'must be printable ASCII without spaces' })
const path = z.string().refine((value) => !value.includes('\u0000'), { error: 'must be a path' })

export interface Config {
  readonly host: string
  readonly port: number
  readonly dataDir: string
  readonly apiKey: string | undefined
  readonly model: 'anthropic' | 'scripted'
  readonly anthropicBaseUrl: string
  readonly anthropicApiKey: string | undefined
  readonly allowedHosts: readonly string[]
  readonly allowedOrigins: readonly string[]
  readonly ociRuntime: string | undefined
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'
}

export interface ConfigSources {
  /** By setting, for those that were on the command line. */
  readonly flags: Partial<Readonly<Record<SettingName, string | undefined>>>
  readonly env: Readonly<Record<string, string | undefined>>
  /** The file that `configFile` names. */
  readonly file?: { readonly path: string; readonly text: string } | undefined
  readonly isRoot: boolean
}

/** Where the configuration file is, if there is one. */
export function configFile({ flags, env }: Pick<ConfigSources, 'flags' | 'env'>): string | undefined {
  return flags.config || env[settings.config.env] || undefined
}

/** Frozen. Throws `invalid_request` naming the setting and where its value came from; the value of a secret is not in the message. */
export function loadConfig(sources: ConfigSources): Config {
  const read = reader(sources)
  const anthropicApiKey = read('anthropicApiKey', printable)
  const anthropicBaseUrl = read('anthropicBaseUrl', httpUrl)
  const model =
    read('model', z.enum(['anthropic', 'scripted'])) ?? (anthropicApiKey === undefined ? 'scripted' : 'anthropic')
  if (model === 'anthropic' && anthropicApiKey === undefined && anthropicBaseUrl === undefined) {
    throw new BerthError('invalid_request', 'ANTHROPIC_API_KEY: is needed for the model anthropic')
  }
  return Object.freeze({
    host: read('host', address) ?? settings.host.default,
    port: read('port', portNumber) ?? portNumber.parse(settings.port.default),
    dataDir: read('dataDir', path) ?? defaultDataDir(sources),
    apiKey: read('apiKey', printable.min(16).max(512)),
    model,
    anthropicBaseUrl: anthropicBaseUrl ?? settings.anthropicBaseUrl.default,
    anthropicApiKey,
    allowedHosts: Object.freeze(read('allowedHosts', list(hostName)) ?? []),
    allowedOrigins: Object.freeze(read('allowedOrigins', list(origin)) ?? []),
    ociRuntime: read('ociRuntime', path),
    logLevel:
      read('logLevel', z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])) ?? settings.logLevel.default,
  })
}

type Read = <Schema extends z.ZodType>(name: SettingName, schema: Schema) => z.output<Schema> | undefined

function reader(sources: ConfigSources): Read {
  const file = readFile(sources.file)
  return (name, schema) => {
    const { env, flag, key } = settings[name]
    const candidates: [unknown, string][] = [
      [sources.flags[name], `${flag ?? name} (command line)`],
      [sources.env[env], `${env} (environment)`],
      [key === null ? undefined : file[key], `${key ?? name} (${sources.file?.path ?? 'file'})`],
    ]
    const found = candidates.find(([value]) => value !== undefined && value !== '')
    if (found === undefined) return undefined
    const parsed = schema.safeParse(found[0])
    if (parsed.success) return parsed.data
    throw new BerthError(
      'invalid_request',
      `${found[1]}: ${[...new Set(parsed.error.issues.map((issue) => issue.message))].join('; ')}`,
    )
  }
}

const keys: ReadonlySet<string | null> = new Set(Object.values(settings).map(({ key }) => key))

function readFile(file: ConfigSources['file']): Readonly<Record<string, unknown>> {
  if (file === undefined) return {}
  const parsed = z.record(z.string(), z.unknown()).safeParse(parseJson(file))
  if (!parsed.success) throw new BerthError('invalid_request', `${file.path}: must be a JSON object`)
  const unknown = Object.keys(parsed.data).find((key) => !keys.has(key))
  if (unknown !== undefined) throw new BerthError('invalid_request', `${unknown} (${file.path}): is not a setting`)
  return parsed.data
}

function parseJson({ path, text }: NonNullable<ConfigSources['file']>): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new BerthError('invalid_request', `${path}: is not JSON`, { cause })
  }
}

/** Short: sockets of sandboxes are below it, and their paths hold 107 bytes at most. */
export function defaultDataDir({ env, isRoot }: Pick<ConfigSources, 'env' | 'isRoot'>): string {
  const state = env['XDG_STATE_HOME']
  if (state) return join(state, 'berth')
  if (isRoot) return '/var/lib/berth'
  const home = env['HOME']
  if (!home) throw new BerthError('invalid_request', `${settings.dataDir.env}: is needed where HOME is not set`)
  return join(home, '.local', 'state', 'berth')
}
