import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { controlSocket } from '@berth/gateway'
import { openGatewayClient, type GatewayClient } from '@berth/protocol/gateway-client'
import { openOciDriver, type SandboxDriver } from '@berth/sandbox'
import { startScriptedModel } from '@berth/scripted-model'
import { claimDataDir, newKey, startServer } from '@berth/server'
import type { Logger } from 'pino'
import { apiKeyPath, readApiKey, writeApiKey } from './api-key-file.ts'
import { keepGateway } from './keep-gateway.ts'
import { hostPrograms, sandboxStateDir } from './programs.ts'

export interface StartConfig {
  readonly dataDir: string
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly model: 'anthropic' | 'scripted'
  /** Variables that tell the gateway where the model is; its key among them. */
  readonly upstream: Readonly<Record<string, string>>
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
  /** Drains and stops the server. Sandboxes and the gateway, which serves them, live on; with `everything`, they end, too. */
  close(what?: { readonly everything: boolean }): Promise<void>
}

interface ApiKey {
  readonly value: string
  readonly created: boolean
  readonly path: string
}

const GATEWAY_END_MS = 15_000

/** Starts gateway, server and, where the config says so, the scripted model. Resolves when requests are answered. */
export async function startBerth(config: StartConfig, { logger, signal }: StartOptions): Promise<RunningBerth> {
  await using opened = new AsyncDisposableStack()
  opened.use(await claimDataDir(config.dataDir))
  const apiKey = await prepareKey(config.dataDir)
  const env = config.model === 'scripted' ? await scriptedUpstream(config.dataDir, opened) : config.upstream
  const programs = hostPrograms()
  const state = join(config.dataDir, 'gateway')
  const keeper = opened.use(await keepGateway({ state, env, node: programs.node }, { logger, signal }))
  const gateway = openGatewayClient(controlSocket(state))
  await using undo = new AsyncDisposableStack()
  if (keeper.started) undo.defer(() => endGateway(gateway))
  const driver = opened.use(await openOciDriver({ stateDir: sandboxStateDir(config.dataDir), ...programs, logger }))
  signal.throwIfAborted()
  const { dataDir, host, port } = config
  const parts = { driver, gateway, logger, allowedHosts: [], allowedOrigins: [] }
  const server = await startServer({ dataDir, host, port, apiKey: apiKey.value, ...parts })
  undo.move()
  const rest = opened.move()
  return {
    url: server.url,
    apiKey,
    close: async (what) => {
      await using _rest = rest
      await server[Symbol.asyncDispose]()
      if (what?.everything !== true) return
      await endSandboxes(driver)
      await keeper[Symbol.asyncDispose]()
      await endGateway(gateway)
    },
  }
}

/** The key that the directory holds, or a new one that it holds from now on. */
async function prepareKey(dataDir: string): Promise<ApiKey> {
  const known = await readApiKey(dataDir)
  if (known !== undefined) return { value: known, created: false, path: apiKeyPath(dataDir) }
  const { key } = newKey()
  return { value: key, created: true, path: await writeApiKey(dataDir, key) }
}

/** Its socket has the same path after every start, so a gateway that lives on still finds it. */
async function scriptedUpstream(dataDir: string, opened: AsyncDisposableStack): Promise<Record<string, string>> {
  const path = join(dataDir, 'scripted.sock')
  await rm(path, { force: true })
  opened.use(await startScriptedModel({ listen: { path } }))
  return { ANTHROPIC_BASE_URL: 'http://scripted.invalid', ANTHROPIC_API_KEY: 'scripted', BERTH_UPSTREAM_SOCKET: path }
}

async function endSandboxes(driver: SandboxDriver): Promise<void> {
  for (const { id } of await driver.list()) await driver.destroy(id)
}

/** Resolves when it no longer answers. */
async function endGateway(gateway: GatewayClient): Promise<void> {
  await gateway.shutdown()
  const deadline = Date.now() + GATEWAY_END_MS
  while (
    Date.now() < deadline &&
    (await gateway.health().then(
      () => true,
      () => false,
    ))
  ) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
