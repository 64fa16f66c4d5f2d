/** What a gateway is started with, and keeps as long as it runs. */
import { createHash } from 'node:crypto'
import { readVaultKey } from '@berth/protocol/vault-key'
import { readUpstreamConfig, type UpstreamConfig } from './config.ts'
import { type EgressConfig, readEgressConfig } from './egress/config.ts'
import { type Metering, readMetering } from './metering.ts'

export interface FixedConfig {
  readonly upstream: UpstreamConfig
  readonly metering: Metering
  readonly egress: EgressConfig
  /** Undefined: it takes no vaults. */
  readonly vaultKey: Buffer | undefined
}

/** Throws `invalid_request` naming the variable, never its value. */
export function readFixedConfig(env: Readonly<Record<string, string | undefined>>): FixedConfig {
  return {
    upstream: readUpstreamConfig(env),
    metering: readMetering(env),
    egress: readEgressConfig(env),
    vaultKey: readVaultKey(env),
  }
}

/** `upstream` of the gateway's health: equal for equal settings, and tells nothing of the key. */
export function fingerprint({ upstream, metering, egress, vaultKey }: FixedConfig): string {
  const { baseUrl, apiKey, socketPath, connectTimeoutMs, idleTimeoutMs } = upstream
  const way = [baseUrl.href, apiKey ?? null, socketPath ?? null, connectTimeoutMs, idleTimeoutMs]
  const parts = [...way, metering, egress, vaultKey?.toString('base64') ?? null]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}
