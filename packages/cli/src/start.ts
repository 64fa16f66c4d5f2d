/** Puts a whole Berth together on this machine: gateway, sandbox driver, server, and the scripted model where it is asked for. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { controlSocket, spawnGateway } from '@berth/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { openOciDriver } from '@berth/sandbox'
import { startScriptedModel } from '@berth/scripted-model'
import { claimDataDir, newKey, startServer } from '@berth/server'
import type { Logger } from 'pino'
import { apiKeyPath, readApiKey, writeApiKey } from './api-key-file.ts'
import { hostPrograms } from './programs.ts'

export interface StartConfig {
  readonly dataDir: string
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly model: 'anthropic' | 'scripted'
  /** The first API key; undefined: the one in the data directory, or a new one. */
  readonly apiKey?: string | undefined
  /** Of the model API; undefined: Anthropic's. */
  readonly upstreamUrl?: string | undefined
  readonly upstreamKey?: string | undefined
  readonly ociRuntime?: string | undefined
  readonly allowedHosts?: readonly string[]
  readonly allowedOrigins?: readonly string[]
}

export interface StartOptions {
  readonly logger: Logger
  /** Gives up a start that is under way. */
  readonly signal: AbortSignal
}

export interface RunningBerth {
  readonly url: string
  /** `created`: made by this start, so that nobody has seen it yet. */
  readonly apiKey: { readonly value: string; readonly created: boolean; readonly path: string }
  /** Drains and stops the server. */
  close(): Promise<void>
}

/** Starts gateway, server and, where the config says so, the scripted model. Resolves when requests are answered. */
export async function startBerth(config: StartConfig, { logger, signal }: StartOptions): Promise<RunningBerth> {
  await using opened = new AsyncDisposableStack()
  const { dataDir } = config
  opened.use(await claimDataDir(dataDir))
  const key = await firstKey(config)
  const upstream = opened.use(await openUpstream(config))
  const state = join(dataDir, 'gateway')
  await spawnGateway({ state, env: upstream.env, node: process.execPath, signal })
  const gateway = openGatewayClient(controlSocket(state))
  const driver = opened.use(
    await openOciDriver({
      ...hostPrograms(),
      stateDir: join(dataDir, 'sandboxes'),
      ...(config.ociRuntime === undefined ? {} : { runtime: config.ociRuntime }),
      logger,
    }),
  )
  signal.throwIfAborted()
  const { host, port, allowedHosts = [], allowedOrigins = [] } = config
  const listen = { host, port, allowedHosts, allowedOrigins }
  const server = await startServer({ ...listen, dataDir, apiKey: key.value, driver, gateway, logger })
  const parts = opened.move()
  return {
    url: server.url,
    apiKey: key,
    close: async () => {
      await server[Symbol.asyncDispose]()
      // With no sandbox left there is nobody whose model calls the gateway would have to carry on.
      if ((await driver.list()).length === 0) await gateway.shutdown()
      await parts.disposeAsync()
    },
  }
}

async function firstKey({ apiKey, dataDir }: StartConfig): Promise<RunningBerth['apiKey']> {
  const path = apiKeyPath(dataDir)
  const known = apiKey ?? (await readApiKey(dataDir))
  if (known !== undefined) {
    if (apiKey !== undefined) await writeApiKey(dataDir, apiKey)
    return { value: known, created: false, path }
  }
  const { key } = newKey()
  await writeApiKey(dataDir, key)
  return { value: key, created: true, path }
}

interface Upstream extends AsyncDisposable {
  /** The gateway's whole environment. */
  readonly env: Readonly<Record<string, string>>
}

async function openUpstream(config: StartConfig): Promise<Upstream> {
  if (config.model === 'anthropic') {
    const { upstreamUrl, upstreamKey } = config
    return {
      env: {
        ...(upstreamUrl === undefined ? {} : { ANTHROPIC_BASE_URL: upstreamUrl }),
        ...(upstreamKey === undefined ? {} : { ANTHROPIC_API_KEY: upstreamKey }),
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
  }
  // At a path of its own, so that a gateway that outlives this process finds the next one.
  const path = join(config.dataDir, 'model.sock')
  await rm(path, { force: true })
  const model = await startScriptedModel({ listen: { path } })
  return {
    env: { ANTHROPIC_BASE_URL: 'http://scripted-model', ANTHROPIC_API_KEY: 'scripted', BERTH_UPSTREAM_SOCKET: path },
    [Symbol.asyncDispose]: () => model[Symbol.asyncDispose](),
  }
}
