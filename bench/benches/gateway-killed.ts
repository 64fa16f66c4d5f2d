/** How long sessions have no gateway when theirs is killed. */
import { enableCompileCache, flushCompileCache } from 'node:module'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { hostPrograms } from '@berth/cli/programs'
import { keepGateway } from '@berth/cli/keep-gateway'
import { controlSocket } from '@berth/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { pino } from 'pino'
import { z } from 'zod'
import { startChild } from '../child.ts'
import { type Bench, interleave } from '../measure.ts'

const bareServer = fileURLToPath(new URL('../programs/bare-server.ts', import.meta.url))
const ROUTES = 20

export const gatewayKilled: Bench = {
  name: 'gateway-killed',
  about: 'a gateway is killed → all of its 20 sessions are answered again; floor: a bare Node starts and answers',
  run: async ({ rounds, signal }) => {
    await using place = await openPlace(signal)
    const ours: number[] = []
    const floor: number[] = []
    await interleave(Math.max(10, rounds), [
      async () => void ours.push(await place.kill()),
      async () => void floor.push(await timeBareStart(place.directory, signal)),
    ])
    return [
      {
        what: 'gateway killed → its sessions are answered',
        unit: 'ms',
        berth: ours,
        floor,
        aim: { of: 'value', atMost: 1_000 },
      },
    ]
  },
}

interface Place extends AsyncDisposable {
  readonly directory: string
  /** Milliseconds from the kill until every session's socket answers. */
  kill(): Promise<number>
}

async function openPlace(signal: AbortSignal): Promise<Place> {
  const directory = await mkdtemp(join(tmpdir(), 'bg-'))
  // As `bin/berth` has it.
  enableCompileCache(join(directory, 'compiled'))
  const state = join(directory, 'state')
  const env = { ANTHROPIC_BASE_URL: 'http://127.0.0.1:9', ANTHROPIC_API_KEY: 'none' }
  const keeping = { logger: pino({ enabled: false }), signal }
  const keeper = await keepGateway({ state, env, node: hostPrograms().node }, keeping)
  const client = openGatewayClient(controlSocket(state))
  const sockets = Array.from({ length: ROUTES }, (_, index) => join(directory, `${index}/model.sock`))
  for (const [index, socketPath] of sockets.entries()) {
    await mkdir(join(directory, String(index)))
    await client.route(`sesn_${index}`, { ...route, socket_path: socketPath })
  }
  return {
    directory,
    kill: async () => {
      const { pid } = await client.health()
      const began = performance.now()
      process.kill(pid, 'SIGKILL')
      for (const path of sockets) await answered(path, signal)
      return performance.now() - began
    },
    [Symbol.asyncDispose]: async () => {
      await keeper[Symbol.asyncDispose]()
      await client.shutdown()
      flushCompileCache()
      await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    },
  }
}

const route = {
  workspace_id: 'bench',
  agent_id: 'agent',
  budget: null,
  owner_uid: process.getuid?.() ?? 0,
  models: null,
  server_tools: [],
}

const EVERY_MS = 5

async function answered(socketPath: string, signal: AbortSignal): Promise<void> {
  while ((await statusOf(socketPath)) === undefined) await sleep(EVERY_MS, undefined, { signal })
}

/** Of a request that the gateway answers by itself; undefined: nobody is there. */
function statusOf(socketPath: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const asking = request({ socketPath, path: '/', agent: false }, (answer) => {
      answer.resume()
      resolve(answer.statusCode)
    })
    asking.on('error', () => resolve(undefined)).end()
  })
}

async function timeBareStart(directory: string, signal: AbortSignal): Promise<number> {
  const socket = join(directory, 'bare.sock')
  const began = performance.now()
  await using _child = await startChild([bareServer, socket], z.object({ ready: z.literal(true) }))
  await answered(socket, signal)
  return performance.now() - began
}
