import { spawn } from 'node:child_process'
import { getCompileCacheDir } from 'node:module'
import { mkdir, open, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { BerthError, isBerthError } from '@berth/protocol/error'
import { type GatewayHealth, GATEWAY_PROTOCOL } from '@berth/protocol/gateway'
import { type GatewayClient, openGatewayClient } from '@berth/protocol/gateway-client'
import { fingerprint, readFixedConfig } from './fixed-config.ts'
import { controlSocket } from './gateway.ts'

export interface SpawnGateway {
  readonly state: string
  /** Environment of the gateway: where the upstream is and its key. Also decides whether a running one fits. */
  readonly env: Readonly<Record<string, string>>
  /** Path of the Node to run it with. */
  readonly node: string
  readonly signal?: AbortSignal
}

export interface SpawnedGateway {
  readonly pid: number
  readonly controlSocket: string
  /** False: it was running already and fits. */
  readonly started: boolean
}

const READY_MS = 15_000
const GONE_MS = 20_000
const POLL_MS = 20

/**
 * Makes sure that a gateway with these settings runs on the state directory, detached from the caller, its output in `gateway.log`. One
 * that runs with other settings ends first. Idempotent. Throws `unavailable`, with the log's last lines, when it does not come up.
 */
export async function spawnGateway(options: SpawnGateway): Promise<SpawnedGateway> {
  const upstream = fingerprint(readFixedConfig(options.env))
  const path = controlSocket(options.state)
  const client = openGatewayClient(path)
  const running = await health(client, options.signal)
  if (running !== undefined) {
    if (running.protocol === GATEWAY_PROTOCOL && running.upstream === upstream) {
      return { pid: running.pid, controlSocket: path, started: false }
    }
    await client.shutdown(options.signal)
    await until(GONE_MS, 'The running gateway does not end', async () => !isAlive(running.pid), options.signal)
  }
  const pid = await launch(options, client)
  return { pid, controlSocket: path, started: true }
}

/**
 * A collection of what is old is not begun for less: the buffers of answers that pass weigh more than all else, and die at once. It costs
 * no memory that was not taken before, since they are many already when the first collection comes.
 */
const nodeFlags = ['--initial-old-space-size=128']

/** What this process takes its compiled code from, another one can, too: the gateway starts in half the time. */
function compileCache(): Record<string, string> {
  const dir = getCompileCacheDir()
  // It names the part for this version of Node.
  return dir === undefined ? {} : { NODE_COMPILE_CACHE: dirname(dir) }
}

async function launch(options: SpawnGateway, client: GatewayClient): Promise<number> {
  await mkdir(options.state, { recursive: true, mode: 0o700 })
  const logFile = join(options.state, 'gateway.log')
  await using log = await open(logFile, 'a', 0o600)
  const main = fileURLToPath(new URL('./main.ts', import.meta.url))
  const child = spawn(options.node, [...nodeFlags, main, '--state', options.state], {
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    env: { ...compileCache(), ...options.env },
  })
  let ended: string | undefined
  child.on('error', (error) => (ended = error.message))
  child.on('exit', (code, signal) => (ended = `it ended with ${signal ?? code}`))
  child.unref()
  const ready = async () => {
    if (ended !== undefined) {
      const lines = (await readFile(logFile, 'utf8')).trimEnd().split('\n').slice(-5).join('\n')
      throw new BerthError('unavailable', `The gateway did not start, ${ended}: ${lines}`)
    }
    return child.pid !== undefined && (await health(client, options.signal))?.pid === child.pid
  }
  await until(READY_MS, `The gateway is not ready; see ${logFile}`, ready, options.signal)
  return child.pid ?? 0
}

async function health(client: GatewayClient, signal?: AbortSignal): Promise<GatewayHealth | undefined> {
  try {
    return await client.health(signal)
  } catch (error) {
    if (isBerthError(error, 'unavailable')) return undefined
    throw error
  }
}

async function until(ms: number, failed: string, done: () => Promise<boolean>, signal?: AbortSignal): Promise<void> {
  const late = AbortSignal.timeout(ms)
  while (!(await done())) {
    if (late.aborted) throw new BerthError('unavailable', failed)
    await delay(POLL_MS, undefined, signal === undefined ? {} : { signal })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
