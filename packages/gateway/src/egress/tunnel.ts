import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { readHost } from '@berth/protocol/host'
import { MAX_HELLO, readClientHello } from './client-hello.ts'
import type { KeptLine } from './host-line.ts'
import { join, type Passage, type PassageLimits } from './passage.ts'
import type { Target } from './policy.ts'
import { EgressRefusal } from './refusal.ts'
import { readConnect } from './request-head.ts'
import { dial, type WayOut } from './way-out.ts'

export interface TunnelParts {
  readonly way: WayOut
  readonly limits: PassageLimits
  /** Reads what comes on this connection, after the first bytes of it, as requests of plain HTTP to the target alone. */
  readonly readHttp: (client: Duplex, first: Buffer, inner: InnerHttp) => Promise<void>
  /** Does TLS to there end here? */
  readonly endsHere: (target: Target) => boolean
  /** The same as `readHttp`, for what is said inside of TLS. */
  readonly readTls: (client: Duplex, first: Buffer, inner: InnerHttp) => Promise<void>
}

/** A tunnel in which HTTP is spoken that is read here. */
export interface InnerHttp {
  readonly target: Target
  /** Inside of TLS. */
  readonly isSecure: boolean
  readonly addresses: readonly string[]
  readonly passage: Passage
  /** Absent: each request has a connection of its own. */
  readonly kept?: KeptLine
}

/** Fatal alert: unrecognized name. */
const ALERT = Buffer.from([21, 3, 3, 0, 2, 2, 112])
const HANDSHAKE = 22

interface Opening {
  readonly request: IncomingMessage
  readonly client: Duplex
  readonly head: Buffer
  readonly passage: Passage
}

/**
 * Serves a CONNECT until its end. Throws an `EgressRefusal` while it can still be answered; later ones end the connection. Nothing of what
 * the client says goes on before it is known that it speaks to the host that it asked for.
 */
export async function serveTunnel(parts: TunnelParts, { request, client, head, passage }: Opening): Promise<void> {
  const target = readConnect(request)
  passage.target = target
  const addresses = await parts.way.addressesOf({ protocol: 'connect', target })
  const dialling = { signal: passage.signal, meter: parts.way.meter({ protocol: 'connect', target }) }
  const upstream = parts.endsHere(target) ? undefined : await dial(target, addresses, dialling)
  try {
    client.write('HTTP/1.1 200 Connection Established\r\n\r\n')
    const first = await firstBytes(
      client,
      head,
      AbortSignal.any([passage.signal, AbortSignal.timeout(parts.limits.helloMs)]),
    )
    if (first === undefined) return
    if (first[0] !== HANDSHAKE && target.port !== 443) {
      upstream?.destroy()
      return await parts.readHttp(client, first, { target, isSecure: false, addresses, passage })
    }
    const fault = faultOf(first, target)
    if (fault !== undefined) {
      const refusal = new EgressRefusal(403, 'server_name', `${target.host}:${target.port}: the tunnel ${fault}`)
      await parts.way.refuse({ protocol: 'connect', target }, refusal)
      client.end(ALERT)
      return
    }
    if (upstream === undefined)
      return await parts.readTls(client, first, { target, isSecure: true, addresses, passage })
    upstream.write(first)
    await join(client, upstream, { signal: passage.signal, idleMs: parts.limits.idleMs })
  } finally {
    upstream?.destroy()
    client.end()
  }
}

function faultOf(first: Buffer, target: Target): string | undefined {
  const hello = readClientHello(first)
  if (hello.state === 'incomplete') return 'has too long a hello'
  if (hello.state === 'refused') return hello.fault
  const name = readHost(hello.serverName)
  return 'host' in name && name.host === target.host ? undefined : 'names another server'
}

/** Until they are a whole hello, or certainly none, or as many as there may be. Undefined when the client closes or takes too long. */
function firstBytes(client: Duplex, head: Buffer, signal: AbortSignal): Promise<Buffer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>()
  let bytes = head
  const isEnough = (): boolean =>
    bytes.length > 0 &&
    (bytes[0] !== HANDSHAKE || bytes.length > MAX_HELLO + 1024 || readClientHello(bytes).state !== 'incomplete')
  const settle = (value: Buffer | undefined): void => {
    client.pause()
    client.off('data', take).off('end', none).off('error', none).off('close', none)
    signal.removeEventListener('abort', none)
    resolve(value)
  }
  const none = (): void => settle(undefined)
  const take = (chunk: Buffer): void => {
    bytes = Buffer.concat([bytes, chunk])
    if (isEnough()) settle(bytes)
  }
  if (signal.aborted) none()
  else if (isEnough()) settle(bytes)
  else {
    client.on('data', take).on('end', none).on('error', none).on('close', none)
    signal.addEventListener('abort', none, { once: true })
  }
  return promise
}
