import { BerthError } from '@berth/protocol/error'
import { z } from 'zod'

export interface UpstreamConfig {
  readonly baseUrl: URL
  /** Undefined: model calls are refused, with a text that says so. */
  readonly apiKey: string | undefined
  /** Unix socket to connect to instead of the URL's host. */
  readonly socketPath: string | undefined
  readonly connectTimeoutMs: number
  /** Without a byte from the upstream, or with a sandbox that takes none. */
  readonly idleTimeoutMs: number
}

const seconds = (fallback: number) => z.coerce.number().positive().max(86_400).default(fallback)
const environment = z.object({
  ANTHROPIC_BASE_URL: z.url({ protocol: /^https?$/ }).default('https://api.anthropic.com'),
  ANTHROPIC_API_KEY: z
    .string()
    .regex(/^[\x21-\x7e]+$/, 'has characters that a header cannot carry')
    .optional(),
  BERTH_UPSTREAM_SOCKET: z.string().min(1).optional(),
  BERTH_UPSTREAM_CONNECT_SECONDS: seconds(60),
  BERTH_UPSTREAM_IDLE_SECONDS: seconds(600),
})

/** Empty variables count as absent. Throws `invalid_request` naming the variable, never its value. */
export function readUpstreamConfig(env: Readonly<Record<string, string | undefined>>): UpstreamConfig {
  const parsed = environment.safeParse(Object.fromEntries(Object.entries(env).filter(([, value]) => value !== '')))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new BerthError(
      'invalid_request',
      `${issue?.path.join('.') ?? 'environment'}: ${issue?.message ?? 'is invalid'}`,
    )
  }
  return {
    baseUrl: new URL(parsed.data.ANTHROPIC_BASE_URL),
    apiKey: parsed.data.ANTHROPIC_API_KEY,
    socketPath: parsed.data.BERTH_UPSTREAM_SOCKET,
    connectTimeoutMs: parsed.data.BERTH_UPSTREAM_CONNECT_SECONDS * 1000,
    idleTimeoutMs: parsed.data.BERTH_UPSTREAM_IDLE_SECONDS * 1000,
  }
}

/** Replaces the key and the URL's credentials wherever they stand in a text. For whatever leaves the process. */
export function scrubber(config: UpstreamConfig): (text: string) => string {
  const { username, password } = config.baseUrl
  const secrets = [config.apiKey, password, username === '' ? undefined : `${username}:${password}`]
    .filter((secret) => secret !== undefined && secret.length >= 4)
    .flatMap((secret) =>
      secret === undefined ? [] : [secret, decodeURIComponent(secret), Buffer.from(secret).toString('base64')],
    )
  return (text) => secrets.reduce((clean, secret) => clean.replaceAll(secret, '[redacted]'), text)
}
