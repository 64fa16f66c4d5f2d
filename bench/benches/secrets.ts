/** What it costs that TLS ends in the gateway and begins again, with a secret put in; and the processor that requests need there. */
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { startChild } from '../child.ts'
import { type Bench, type Figure, interleave } from '../measure.ts'
import { cpuOf } from '../processes.ts'
import { BOUND, credential, openSecretRoute, placeholder, type SecretRoute, UNBOUND } from '../secret-route.ts'

const program = (name: string): string => fileURLToPath(new URL(`../programs/${name}.ts`, import.meta.url))
const password = Buffer.from(`berth:${credential}`).toString('base64')

export const secrets: Bench = {
  name: 'secrets',
  about: 'requests with a secret, in TLS that ends in the gateway; floor: TLS to the host itself',
  run: async ({ rounds, signal }) => {
    await using upstream = await startChild([program('upstream')], z.object({ url: z.string() }))
    await using route = await openSecretRoute(upstream.ready.url, signal)
    const { address, keyFile, certFile, egressSocket } = route
    await using _host = await startChild(
      [program('secure-host'), address, keyFile, certFile],
      z.object({ address: z.string() }),
    )
    await using forwarder = await startChild([program('forwarder'), egressSocket], z.object({ port: z.number() }))
    const ways = waysOf(route, forwarder.ready.port)
    for (let n = 0; n < 20; n++) for (const way of Object.values(ways)) await fresh(way)
    return [
      ...(await latencies(ways, rounds)),
      ...(await throughputs(ways, Math.ceil(rounds / 3))),
      ...(await processor(route, ways, Math.min(1000, rounds * 70))),
    ]
  },
}

interface Way {
  readonly host: string
  open(): Promise<TLSSocket>
}

type Ways = Readonly<Record<'ended' | 'tunnel' | 'direct', Way>>

function waysOf({ address, hostCa, gatewayCa }: SecretRoute, port: number): Ways {
  const tunnelTo = async (host: string): Promise<Socket> => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    socket.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\nProxy-Authorization: Basic ${password}\r\n\r\n`)
    const [answer] = await once(socket, 'data')
    if (!String(answer).startsWith('HTTP/1.1 200 ')) throw new Error(String(answer))
    return socket
  }
  const secure = async (socket: Socket, servername: string, ca: string): Promise<TLSSocket> => {
    const tls = connectTls({ socket, servername, ca })
    await once(tls, 'secureConnect')
    return tls
  }
  return {
    ended: { host: BOUND, open: async () => await secure(await tunnelTo(BOUND), BOUND, gatewayCa) },
    tunnel: { host: UNBOUND, open: async () => await secure(await tunnelTo(UNBOUND), UNBOUND, hostCa) },
    direct: {
      host: BOUND,
      open: async () => await secure(connect({ port: 443, host: address, noDelay: true }), BOUND, hostCa),
    },
  }
}

/** Time to the end of the answer, and its bytes. */
async function exchange(agent: Agent, host: string, path = '/'): Promise<{ ms: number; bytes: number }> {
  const began = performance.now()
  return await new Promise((resolve, reject) => {
    const outgoing = request({ agent, path, headers: { host, authorization: `Bearer ${placeholder}` } })
    outgoing.on('error', reject).on('response', (incoming) => {
      let bytes = 0
      if (incoming.statusCode !== 200) reject(new Error(`status ${incoming.statusCode}`))
      incoming.on('data', (chunk: Buffer) => (bytes += chunk.length))
      incoming.on('end', () => resolve({ ms: performance.now() - began, bytes }))
      incoming.on('error', reject)
    })
    outgoing.end()
  })
}

function over(connection: TLSSocket): Agent & Disposable {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  agent.createConnection = () => connection
  return Object.assign(agent, { [Symbol.dispose]: () => agent.destroy() })
}

/** From nothing to the end of the answer. */
async function fresh(way: Way, path = '/'): Promise<{ ms: number; bytes: number }> {
  const began = performance.now()
  using agent = over(await way.open())
  const { bytes } = await exchange(agent, way.host, path)
  return { ms: performance.now() - began, bytes }
}

async function latencies(ways: Ways, rounds: number): Promise<Figure[]> {
  const opened = { ended: [] as number[], tunnel: [] as number[], direct: [] as number[] }
  const kept = { ended: [] as number[], tunnel: [] as number[], direct: [] as number[] }
  const names = ['ended', 'tunnel', 'direct'] as const
  await interleave(
    rounds * 10,
    names.map((name) => async () => void opened[name].push((await fresh(ways[name])).ms)),
  )
  using ended = over(await ways.ended.open())
  using tunnel = over(await ways.tunnel.open())
  using direct = over(await ways.direct.open())
  const agents = { ended, tunnel, direct }
  await interleave(
    rounds * 40,
    names.map((name) => async () => void kept[name].push((await exchange(agents[name], ways[name].host)).ms)),
  )
  const line = (what: string, berth: number[], floor: number[]): Figure => ({ what, unit: 'ms', berth, floor })
  return [
    line('secrets: new connection → answer', opened.ended, opened.direct),
    line('tunnel of TLS: new connection → answer', opened.tunnel, opened.direct),
    line('secrets: request on an open connection', kept.ended, kept.direct),
    line('tunnel of TLS: request on an open connection', kept.tunnel, kept.direct),
  ]
}

async function throughputs(ways: Ways, rounds: number): Promise<Figure[]> {
  const found = { ended: [] as number[], tunnel: [] as number[], direct: [] as number[] }
  const measure = (name: keyof Ways) => async (): Promise<void> => {
    const { ms, bytes } = await fresh(ways[name], '/stream')
    found[name].push(bytes / 1e3 / ms)
  }
  await interleave(rounds, [measure('ended'), measure('tunnel'), measure('direct')])
  return [
    { what: 'secrets: stream', unit: 'MB/s', berth: found.ended, floor: found.direct },
    { what: 'tunnel of TLS: stream', unit: 'MB/s', berth: found.tunnel, floor: found.direct },
  ]
}

/** Of the gateway's process, for 1,000 requests, one after another. */
async function processor(route: SecretRoute, ways: Ways, requests: number): Promise<Figure[]> {
  const cost = async (what: string, one: () => Promise<unknown>): Promise<Figure> => {
    const before = await cpuOf(route.gatewayPid)
    for (let n = 0; n < requests; n++) await one()
    const ms = ((await cpuOf(route.gatewayPid)) - before) * (1000 / requests)
    return { what: `gateway’s processor: 1,000 ${what}`, unit: 'ms', berth: [ms], floor: [] }
  }
  using model = Object.assign(new Agent({ keepAlive: true }), { [Symbol.dispose]: () => undefined })
  const figures = [
    await cost('model requests', () => callModel(route.modelSocket, model)),
    await cost('tunnels with a request', () => fresh(ways.tunnel)),
    await cost('requests with a secret, new connections', () => fresh(ways.ended)),
  ]
  model.destroy()
  // Opened no earlier: the gateway does not wait long for the first request of a connection.
  using kept = over(await ways.ended.open())
  figures.push(await cost('requests with a secret, open connection', () => exchange(kept, BOUND)))
  return figures
}

async function callModel(socketPath: string, agent: Agent): Promise<void> {
  const body = JSON.stringify({
    model: 'm',
    max_tokens: 1,
    top_k: 0,
    stream: true,
    messages: [{ role: 'user', content: 'hi' }],
  })
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  await new Promise<void>((resolve, reject) => {
    const outgoing = request({ socketPath, agent, method: 'POST', path: '/v1/messages?beta=true', headers })
    outgoing.on('error', reject).on('response', (incoming) => incoming.resume().on('end', resolve).on('error', reject))
    outgoing.end(body)
  })
}
