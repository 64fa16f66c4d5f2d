/** What the way through the gateway adds to a model call. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnGateway } from '@berth/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { z } from 'zod'
import { startChild } from '../child.ts'
import { type Bench, interleave } from '../measure.ts'

const program = fileURLToPath(new URL('../programs/upstream.ts', import.meta.url))

type Target = { readonly socketPath: string } | { readonly port: number }

export const gateway: Bench = {
  name: 'gateway',
  about: 'small model calls and large streams through the gateway; floor: direct',
  run: async ({ rounds, signal }) => {
    await using upstream = await startChild([program], z.object({ url: z.string() }))
    await using route = await openRoute(upstream.ready.url, signal)
    using agent = disposable(new Agent({ keepAlive: true }))
    const through = { socketPath: route.socketPath }
    const direct = { port: Number(new URL(upstream.ready.url).port) }
    const call = (target: Target, deltas: number, kib: number): Promise<Exchange> =>
      exchange({ target, agent: agent.value, deltas, kib })
    for (let n = 0; n < 20; n++) await call(through, 1, 0)
    const small = { ours: [] as number[], floor: [] as number[] }
    await interleave(rounds * 40, [
      async () => void small.ours.push((await call(through, 1, 0)).firstByteMs),
      async () => void small.floor.push((await call(direct, 1, 0)).firstByteMs),
    ])
    const large = { ours: [] as number[], floor: [] as number[] }
    const tiny = { ours: [] as number[], floor: [] as number[] }
    await interleave(Math.ceil(rounds / 3), [
      async () => void large.ours.push((await call(through, 4096, 64)).mbPerSecond),
      async () => void large.floor.push((await call(direct, 4096, 64)).mbPerSecond),
      async () => void tiny.ours.push((await call(through, 200_000, 0)).mbPerSecond),
      async () => void tiny.floor.push((await call(direct, 200_000, 0)).mbPerSecond),
    ])
    return [
      {
        what: 'gateway: small request → first byte',
        unit: 'ms',
        berth: small.ours,
        floor: small.floor,
        aim: { of: 'added', quantile: 0.99, atMost: 5 },
      },
      {
        what: 'gateway: stream, deltas of 64 KiB',
        unit: 'MB/s',
        berth: large.ours,
        floor: large.floor,
        aim: { of: 'value', atLeast: 500 },
      },
      { what: 'gateway: stream, deltas of 100 B', unit: 'MB/s', berth: tiny.ours, floor: tiny.floor },
    ]
  },
}

interface Route extends AsyncDisposable {
  readonly socketPath: string
}

async function openRoute(upstreamUrl: string, signal: AbortSignal): Promise<Route> {
  const dir = await mkdtemp(join(tmpdir(), 'bg-'))
  const env = { ANTHROPIC_BASE_URL: upstreamUrl, ANTHROPIC_API_KEY: 'none' }
  const spawned = await spawnGateway({ state: join(dir, 'state'), env, node: process.execPath, signal })
  const client = openGatewayClient(spawned.controlSocket)
  const socketPath = join(dir, 'gw/model.sock')
  await mkdir(join(dir, 'gw'))
  await client.route('sesn_bench', {
    workspace_id: 'bench',
    agent_id: 'agent',
    budget: null,
    socket_path: socketPath,
    owner_uid: process.getuid?.() ?? 0,
    models: null,
    server_tools: [],
  })
  return {
    socketPath,
    [Symbol.asyncDispose]: async () => {
      await client.shutdown()
      await rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    },
  }
}

function disposable(value: Agent): Disposable & { readonly value: Agent } {
  return { value, [Symbol.dispose]: () => value.destroy() }
}

interface Exchange {
  readonly firstByteMs: number
  readonly mbPerSecond: number
}

interface Asking {
  readonly target: Target
  readonly agent: Agent
  readonly deltas: number
  readonly kib: number
}

function exchange({ target, agent, deltas, kib }: Asking): Promise<Exchange> {
  const body = JSON.stringify({
    model: 'm',
    max_tokens: deltas,
    top_k: kib,
    stream: true,
    messages: [{ role: 'user', content: 'hi' }],
  })
  const began = performance.now()
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const outgoing = request({ ...target, agent, method: 'POST', path: '/v1/messages?beta=true', headers })
    outgoing.on('error', reject)
    outgoing.on('response', (incoming) => {
      if (incoming.statusCode !== 200) reject(new Error(`status ${incoming.statusCode}`))
      let first: number | undefined
      let bytes = 0
      incoming.on('data', (chunk: Buffer) => {
        first ??= performance.now()
        bytes += chunk.byteLength
      })
      incoming.on('end', () => {
        const now = performance.now()
        resolve({ firstByteMs: (first ?? now) - began, mbPerSecond: bytes / 1e3 / (now - (first ?? began)) })
      })
      incoming.on('error', reject)
    })
    outgoing.end(body)
  })
}
