/**
 * Reads the settings of `settings.ts` once. A setting comes from its flag, else its environment variable, else the configuration file, else
 * its default; an empty variable counts as unset.
 */
import { isIP, isIPv6 } from 'node:net'
import { join } from 'node:path'
import { BerthError } from '@berth/protocol'
import { readByteSize } from '@berth/protocol/byte-size'
import { z } from 'zod'
import { type SettingName, settings } from './settings.ts'

const LISTEN = /^(?:\[(?<v6>[^[\]]+)\]|(?<name>[A-Za-z0-9.-]+)):(?<port>\d{1,5})$/
const listenAddress = z.string().transform((value, context) => {
  const { v6, name, port } = LISTEN.exec(value)?.groups ?? {}
  const host = v6 ?? name
  if (host !== undefined && (v6 === undefined || isIPv6(v6)) && Number(port) <= 65_535)
    return { host, port: Number(port) }
  context.addIssue({ code: 'custom', message: 'must be an address and a port, such as 127.0.0.1:7071 or [::1]:7071' })
  return z.NEVER
})
/** In the file it may be a number. */
const seconds = z
  .union(
    [
      z
        .string()
        .regex(/^\d+(?:\.\d+)?$/)
        .transform(Number),
      z.number(),
    ],
    { error: 'must be a number of seconds' },
  )
  .refine((value) => value > 0 && value <= 86_400, { error: 'must be more than 0 and at most 86400 seconds' })

/** The same. */
const checkpoints = z
  .union([z.string().regex(/^\d+$/).transform(Number), z.int()], { error: 'must be a number of checkpoints' })
  .refine((value) => value >= 1 && value <= 10_000, { error: 'must be at least 1 and at most 10000 checkpoints' })

/** The same. */
const sandboxes = z
  .union([z.string().regex(/^\d+$/).transform(Number), z.int()], { error: 'must be a number of sandboxes' })
  .refine((value) => value >= 0 && value <= 1_000, { error: 'must be at most 1000 sandboxes' })
const uploadLimit = z.union([z.string(), z.number().transform(String)]).transform((value, context) => {
  const bytes = value === 'none' ? value : readByteSize(value)
  if (bytes !== undefined) return bytes
  context.addIssue({ code: 'custom', message: 'must be a size such as 500MB or 4GiB, or none' })
  return z.NEVER
})
const usd = z
  .union([z.string(), z.number().transform(String)])
  .pipe(z.string().regex(/^\d{1,7}(\.\d{1,9})?$/, { error: 'must be an amount in USD such as 25 or 0.50' }))

const list = (item: z.ZodString) =>
  z
    .union([z.string().transform((value) => value.split(',').map((part) => part.trim())), z.array(z.string())])
    .transform((parts) => parts.filter((part) => part !== ''))
    .pipe(z.array(item))

const hostName = z.string().regex(/^(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/, {
  error: 'must be names such as berth.example or berth.example:8080',
})
const dnsServer = z.string().refine(
  (value) => {
    const { v6, v4, port } = /^(?:\[(?<v6>[^\]]+)\]|(?<v4>[\d.]+))(?::(?<port>\d{1,5}))?$/.exec(value)?.groups ?? {}
    return isIP(value) !== 0 || (isIP(v6 ?? v4 ?? '') !== 0 && Number(port ?? 53) <= 65_535)
  },
  { error: 'must be addresses such as 10.0.0.53, 10.0.0.53:5353 or [fd00::53]:5353' },
)
const network = z.string().refine(
  (value) => {
    const [address = '', prefix, ...more] = value.split('/')
    const bits = isIP(address) === 6 ? 128 : 32
    const isPrefix = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits)
    return isIP(address) !== 0 && isPrefix && more.length === 0
  },
  { error: 'must be addresses, or networks such as 10.1.0.0/16' },
)
const domain = z
  .string()
  .max(180)
  .regex(/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/, {
    error: 'must be a domain such as ports.example or ports.example:8443, in lower case',
  })
const origin = z.string().refine((value) => URL.canParse(value) && new URL(value).origin === value, {
  error: 'must be origins such as https://console.example',
})
const httpUrl = z.url({ protocol: /^https?$/, error: 'must be a URL of http or https' })
const printable = z.string().regex(/^[\x21-\x7e]+$/, { error: 'must be printable ASCII without spaces' })
const path = z.string().refine((value) => !value.includes('\u0000'), { error: 'must be a path' })

export interface Config {
  /** Without brackets. */
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  readonly dataDir: string
  readonly apiKey: string | undefined
  readonly model: 'anthropic' | 'scripted'
  readonly anthropicBaseUrl: string
  readonly anthropicApiKey: string | undefined
  readonly upstreamSocket: string | undefined
  readonly upstreamConnectSeconds: number
  readonly upstreamIdleSeconds: number
  readonly egressDns: readonly string[]
  readonly egressNetworks: readonly string[]
  /** Absolute path. */
  readonly egressCaFile: string | undefined
  /** Bytes. */
  readonly egressUploadLimit: number | 'none'
  readonly allowedHosts: readonly string[]
  readonly allowedOrigins: readonly string[]
  readonly ports: {
    /** Undefined: on loopback, as near to `port` as there is one. */
    readonly listen: { readonly host: string; readonly port: number } | undefined
    readonly domain: string
  }
  /** At most one of the two. */
  readonly vaultKey: { readonly file: string | undefined; readonly command: string | undefined }
  readonly ociRuntime: string | undefined
  readonly checkpointsPerSession: number
  readonly warmSandboxes: number
  /** Path of a file. */
  readonly prices: string | undefined
  /** USD, as a decimal. */
  readonly workspaceDailyLimit: string | undefined
  readonly sandboxHourUsd: number
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
  if (model === 'anthropic' && anthropicApiKey === undefined) {
    throw new BerthError('invalid_request', 'ANTHROPIC_API_KEY: is needed for the model anthropic')
  }
  return Object.freeze({
    ...(read('listen', listenAddress) ?? listenAddress.parse(settings.listen.default)),
    dataDir: read('dataDir', path) ?? defaultDataDir(sources),
    apiKey: read('apiKey', printable.min(16).max(512)),
    model,
    anthropicBaseUrl: anthropicBaseUrl ?? settings.anthropicBaseUrl.default,
    anthropicApiKey,
    upstreamSocket: read('upstreamSocket', path),
    upstreamConnectSeconds: read('upstreamConnectSeconds', seconds) ?? Number(settings.upstreamConnectSeconds.default),
    upstreamIdleSeconds: read('upstreamIdleSeconds', seconds) ?? Number(settings.upstreamIdleSeconds.default),
    egressDns: Object.freeze(read('egressDns', list(dnsServer)) ?? []),
    egressNetworks: Object.freeze(read('egressNetworks', list(network)) ?? []),
    egressCaFile: read('egressCaFile', path),
    egressUploadLimit: read('egressUploadLimit', uploadLimit) ?? uploadLimit.parse(settings.egressUploadLimit.default),
    allowedHosts: Object.freeze(read('allowedHosts', list(hostName)) ?? []),
    allowedOrigins: Object.freeze(read('allowedOrigins', list(origin)) ?? []),
    ports: Object.freeze({
      listen: read('portsListen', listenAddress),
      domain: read('portsDomain', domain) ?? settings.portsDomain.default,
    }),
    vaultKey: readVaultKey(read),
    ociRuntime: read('ociRuntime', path),
    checkpointsPerSession: read('checkpointsPerSession', checkpoints) ?? Number(settings.checkpointsPerSession.default),
    warmSandboxes: read('warmSandboxes', sandboxes) ?? Number(settings.warmSandboxes.default),
    prices: read('prices', path),
    workspaceDailyLimit: read('workspaceDailyLimit', usd),
    sandboxHourUsd: Number(read('sandboxHourUsd', usd) ?? settings.sandboxHourUsd.default),
    logLevel:
      read('logLevel', z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])) ?? settings.logLevel.default,
  })
}

function readVaultKey(read: Read): Config['vaultKey'] {
  const file = read('vaultKeyFile', path)
  const command = read('vaultKeyCommand', path)
  if (file !== undefined && command !== undefined) {
    const names = `${settings.vaultKeyFile.env} and ${settings.vaultKeyCommand.env}`
    throw new BerthError('invalid_request', `${names}: only one of them can say where the key is`)
  }
  return Object.freeze({ file, command })
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
