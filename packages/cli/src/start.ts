import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { controlSocket } from '@berth/gateway'
import { BerthError } from '@berth/protocol/error'
import { openGatewayClient, type GatewayClient } from '@berth/protocol/gateway-client'
import { vaultKeyVariables } from '@berth/protocol/vault-key'
import { openOciDriver, type SandboxDriver } from '@berth/sandbox'
import { findRuntime } from '@berth/sandbox/oci/runtime'
import { startScriptedModel } from '@berth/scripted-model'
import {
  claimDataDir,
  newKey,
  prepareVaultKey,
  type ServerOptions,
  startServer,
  type VaultKeyConfig,
} from '@berth/server'
import type { Config } from '@berth/server/config'
import { settings } from '@berth/server/settings'
import type { Logger } from 'pino'
import { apiKeyPath, readApiKey, writeApiKey } from './api-key-file.ts'
import { keepGateway } from './keep-gateway.ts'
import { costsOf, meteringEnv, type MeteringConfig } from './metering.ts'
import { hostPrograms, ociOptions } from './programs.ts'

export interface StartConfig {
  readonly dataDir: string
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly model: 'anthropic' | 'scripted'
  /** Variables of the gateway: where the model is, its key among them, and what is said about ways out. */
  readonly upstream: Readonly<Record<string, string>>
  /** A key that is to exist; without it, the one in the data directory or a new one. */
  readonly apiKey?: string | undefined
  /** Default: crun, else runc. */
  readonly ociRuntime?: string | undefined
  readonly allowedHosts?: readonly string[]
  readonly allowedOrigins?: readonly string[]
  readonly ports?: Config['ports']
  /** Default: the key in the data directory, or a new one. */
  readonly vaultKey?: VaultKeyConfig
  readonly checkpointsPerSession?: number
  readonly warmSandboxes?: number
  /** Default: list prices, no limits. */
  readonly metering?: MeteringConfig
}

export interface StartOptions {
  readonly logger: Logger
  /** Gives up a start that is under way. */
  readonly signal: AbortSignal
}

export interface RunningBerth {
  readonly url: string
  /** `created`: made by this start, so that nobody has seen it yet. */
  readonly apiKey: ApiKey
  /**
   * Drains and stops the server. Sandboxes live on, and as long as there is one the gateway, which serves them; with `everything`, all
   * of them end.
   */
  close(what?: { readonly everything: boolean }): Promise<void>
}

interface ApiKey {
  readonly value: string
  readonly created: boolean
  readonly path: string
}

function givenOf({ checkpointsPerSession, metering, ports, warmSandboxes }: StartConfig): Partial<ServerOptions> {
  return {
    ...(metering === undefined ? {} : { costs: costsOf(metering) }),
    ...(warmSandboxes === undefined ? {} : { warmSandboxes }),
    ...(checkpointsPerSession === undefined ? {} : { checkpointsPerSession }),
    ...(ports === undefined ? {} : { ports }),
  }
}

const GATEWAY_END_MS = 15_000

/** Starts gateway, server and, where the config says so, the scripted model. Resolves when requests are answered. */
export async function startBerth(config: StartConfig, { logger, signal }: StartOptions): Promise<RunningBerth> {
  await checkRuntime(config)
  await using opened = new AsyncDisposableStack()
  opened.use(await claimDataDir(config.dataDir))
  const vaultKey = await prepareVaultKey(config.dataDir, config.vaultKey ?? {}, signal)
  const apiKey = await prepareKey(config)
  const upstream = config.model === 'scripted' ? await scriptedUpstream(config, opened) : config.upstream
  const env = {
    ...upstream,
    ...(config.metering === undefined ? {} : meteringEnv(config.metering)),
    // The key itself: a file may have another one by the time that a gateway is started again, and a command is asked once.
    [vaultKeyVariables.key]: vaultKey.toString('base64'),
  }
  const { node } = hostPrograms()
  const state = join(config.dataDir, 'gateway')
  const keeper = opened.use(await keepGateway({ state, env, node }, { logger, signal }))
  const gateway = openGatewayClient(controlSocket(state))
  await using undo = new AsyncDisposableStack()
  if (keeper.started) {
    undo.defer(() => endGateway(gateway))
    // First of all: a keeper that still looked after it would start it again.
    undo.use(keeper)
  }
  const driver = opened.use(await openOciDriver({ ...ociOptions(config), logger }))
  signal.throwIfAborted()
  const { dataDir, host, port, allowedHosts = [], allowedOrigins = [] } = config
  const given = { host, port, allowedHosts, allowedOrigins, ...givenOf(config) }
  const server = await startServer({ ...given, dataDir, apiKey: apiKey.value, vaultKey, driver, gateway, logger })
  undo.move()
  const rest = opened.move()
  return {
    url: server.url,
    apiKey,
    close: async (what) => {
      await using _rest = rest
      await server[Symbol.asyncDispose]()
      if (what?.everything === true) await endSandboxes(driver)
      if ((await driver.list()).length > 0) return
      await keeper[Symbol.asyncDispose]()
      await endGateway(gateway)
    },
  }
}

/** A runtime that the operator names must work; whether there is one at all is said by `doctor`, and when a sandbox is made. */
async function checkRuntime({ ociRuntime }: StartConfig): Promise<void> {
  if (ociRuntime === undefined || (await findRuntime(ociRuntime)) !== undefined) return
  throw new BerthError('unavailable', `${settings.ociRuntime.env}: ${ociRuntime} is not a working OCI runtime`)
}

/** The key that is wanted, else the one that the directory holds, else a new one. The directory holds it from now on. */
async function prepareKey({ apiKey, dataDir }: StartConfig): Promise<ApiKey> {
  const known = await readApiKey(dataDir)
  const value = apiKey ?? known ?? newKey().key
  if (value !== known) await writeApiKey(dataDir, value)
  return { value, created: apiKey === undefined && known === undefined, path: apiKeyPath(dataDir) }
}

/** Its socket has the same path after every start, so a gateway that lives on still finds it. */
async function scriptedUpstream(
  { dataDir, upstream }: StartConfig,
  opened: AsyncDisposableStack,
): Promise<Record<string, string>> {
  const path = join(dataDir, 'scripted.sock')
  await rm(path, { force: true })
  opened.use(await startScriptedModel({ listen: { path } }))
  const model = {
    ANTHROPIC_BASE_URL: 'http://scripted.invalid',
    ANTHROPIC_API_KEY: 'scripted',
    BERTH_UPSTREAM_SOCKET: path,
  }
  // Which model answers says nothing about the ways out.
  const { egressDns, egressNetworks, egressCaFile, egressUploadLimit } = settings
  const egress = [egressDns, egressNetworks, egressCaFile, egressUploadLimit].map(({ env }) => [
    env,
    upstream[env] ?? '',
  ])
  return { ...model, ...Object.fromEntries(egress) }
}

async function endSandboxes(driver: SandboxDriver): Promise<void> {
  for (const { id } of await driver.list()) await driver.destroy(id)
}

/** Resolves when its process is gone: only then may another one have its state. */
async function endGateway(gateway: GatewayClient): Promise<void> {
  const { pid } = await gateway.health()
  await gateway.shutdown()
  const deadline = Date.now() + GATEWAY_END_MS
  while (Date.now() < deadline && isAlive(pid)) await sleep(20)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
