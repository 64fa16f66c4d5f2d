/** What the way out adds to a connection: the runner's port, the gateway's proxy, and its record. */
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnGateway } from '@berth/gateway'
import { ownLoopback } from '@berth/gateway/fixture/egress-world'
import { startStubDns } from '@berth/gateway/fixture/stub-dns'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { z } from 'zod'
import { hello, serverName } from '../../test/security/traps/hello.ts'
import { startChild } from '../child.ts'
import { type Bench, interleave } from '../measure.ts'

const program = (name: string): string => fileURLToPath(new URL(`../programs/${name}.ts`, import.meta.url))
const HOST = 'allowed.test'
const first = hello([serverName(HOST)])
const credential = 'c'.repeat(43)
const address = ownLoopback()

export const egress: Bench = {
  name: 'egress',
  about: 'tunnels out of a sandbox: opened, used and filled; floor: a direct connection',
  run: async ({ rounds, signal }) => {
    await using _server = await startChild(
      [program('tunnelled'), address, String(first.length)],
      z.object({ address: z.string() }),
    )
    await using dns = await startStubDns(() => [address])
    await using route = await openRoute(dns.server, signal)
    await using forwarder = await startChild([program('forwarder'), route.socketPath], z.object({ port: z.number() }))
    const { port } = forwarder.ready
    const direct = (): Promise<Socket> => open(443, address)
    const through = async (): Promise<Socket> => {
      const socket = await open(port, '127.0.0.1')
      const password = Buffer.from(`berth:${credential}`).toString('base64')
      socket.write(
        `CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\nProxy-Authorization: Basic ${password}\r\n\r\n`,
      )
      const answer = String(await nextChunk(socket))
      if (!answer.startsWith('HTTP/1.1 200 ')) throw new Error(answer)
      return socket
    }
    for (let n = 0; n < 20; n++) await timeToFirst(through)
    const opened = await both(rounds * 20, { ours: () => timeToFirst(through), floor: () => timeToFirst(direct) })
    const [ours, floor] = [await ready(through), await ready(direct)]
    const used = await both(rounds * 100, { ours: () => roundTrip(ours), floor: () => roundTrip(floor) })
    for (const socket of [ours, floor]) socket.destroy()
    const filled = await both(Math.ceil(rounds / 3), {
      ours: () => throughput(through),
      floor: () => throughput(direct),
    })
    return [
      {
        what: 'egress: new tunnel → first byte',
        unit: 'ms',
        ...opened,
        aim: { of: 'added', quantile: 0.99, atMost: 20 },
      },
      { what: 'egress: round trip in a tunnel', unit: 'ms', ...used, aim: { of: 'added', quantile: 0.99, atMost: 5 } },
      { what: 'egress: stream through a tunnel', unit: 'MB/s', ...filled },
    ]
  },
}

interface Sides {
  readonly ours: () => Promise<number>
  readonly floor: () => Promise<number>
}

async function both(rounds: number, sides: Sides): Promise<{ berth: number[]; floor: number[] }> {
  const found = { berth: [] as number[], floor: [] as number[] }
  await interleave(rounds, [
    async () => void found.berth.push(await sides.ours()),
    async () => void found.floor.push(await sides.floor()),
  ])
  return found
}

async function open(port: number, host: string): Promise<Socket> {
  const socket = connect({ port, host, noDelay: true })
  await once(socket, 'connect')
  return socket
}

async function nextChunk(socket: Socket): Promise<Buffer> {
  const [chunk] = await once(socket, 'data')
  return z.instanceof(Buffer).parse(chunk)
}

/** One that has said its hello. */
async function ready(dial: () => Promise<Socket>): Promise<Socket> {
  const socket = await dial()
  socket.write(first)
  const answer = await nextChunk(socket)
  if (String(answer) !== 'h') throw new Error('the host has not answered')
  return socket
}

async function timeToFirst(dial: () => Promise<Socket>): Promise<number> {
  const began = performance.now()
  const socket = await ready(dial)
  const took = performance.now() - began
  socket.destroy()
  return took
}

async function roundTrip(socket: Socket): Promise<number> {
  const began = performance.now()
  socket.write('p')
  await nextChunk(socket)
  return performance.now() - began
}

async function throughput(dial: () => Promise<Socket>): Promise<number> {
  const socket = await ready(dial)
  let bytes = 0
  socket.on('data', (chunk: Buffer) => (bytes += chunk.length))
  const began = performance.now()
  socket.write('s')
  await once(socket, 'end')
  socket.destroy()
  return bytes / 1e3 / (performance.now() - began)
}

async function openRoute(dns: string, signal: AbortSignal): Promise<AsyncDisposable & { readonly socketPath: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'be-'))
  const env = { ANTHROPIC_API_KEY: 'none', BERTH_EGRESS_DNS: dns, BERTH_EGRESS_NETWORKS: address }
  const spawned = await spawnGateway({ state: join(dir, 'state'), env, node: process.execPath, signal })
  const client = openGatewayClient(spawned.controlSocket)
  await mkdir(join(dir, 'gw'))
  const owner_uid = process.getuid?.() ?? 0
  const socketPath = join(dir, 'gw/egress.sock')
  await client.route('sesn_bench', {
    agent_id: 'agent',
    budget: null,
    workspace_id: 'bench',
    socket_path: join(dir, 'gw/model.sock'),
    owner_uid,
    models: null,
    server_tools: [],
    egress: { socket_path: socketPath, owner_uid, credential, policy: { type: 'limited', hosts: [HOST] } },
  })
  return {
    socketPath,
    [Symbol.asyncDispose]: async () => {
      await client.shutdown()
      await rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    },
  }
}
