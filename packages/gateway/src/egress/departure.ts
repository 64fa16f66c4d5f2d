import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { type InjectedRequest, injectedRequest } from '../injection/injected-request.ts'
import type { SessionSecrets } from '../injection/session-secrets.ts'
import { dialTls, type Trust } from './dial-tls.ts'
import type { Passage } from './passage.ts'
import { type Forwarded, toHost } from './request-head.ts'
import type { InnerHttp } from './tunnel.ts'
import { dial, type WayOut } from './way-out.ts'

export interface DepartureParts {
  readonly way: WayOut
  readonly secrets: SessionSecrets
  readonly trust: () => Trust
}

interface Leaving {
  readonly request: IncomingMessage
  readonly forwarded: Forwarded
  /** The tunnel in which it was said: where that leads is decided already. */
  readonly inner: InnerHttp | undefined
  readonly passage: Passage
}

/** A connection to where a request goes, which is on record. */
export interface Departure {
  readonly socket: Socket
  /** With secrets in it. Undefined: it goes as it was read. */
  readonly injected: InjectedRequest | undefined
}

/** Throws an `EgressRefusal`, with nothing sent. */
export async function depart(parts: DepartureParts, leaving: Leaving): Promise<Departure> {
  const { forwarded, inner, passage } = leaving
  const { target } = forwarded
  passage.target = target
  if (inner?.isSecure === true) return await departSecurely(parts, leaving, inner.addresses)
  const addresses = inner?.addresses ?? (await parts.way.addressesOf({ protocol: 'http', target }))
  const meter = parts.way.meter({ protocol: 'http', target })
  return { socket: await dial(target, addresses, { signal: passage.signal, meter }), injected: undefined }
}

/** Secrets are asked for anew with every request, so that one that was changed or withdrawn goes out no more. */
async function departSecurely(
  { way, secrets, trust }: DepartureParts,
  { request, forwarded, passage }: Leaving,
  addresses: readonly string[],
): Promise<Departure> {
  const { target } = forwarded
  const asked = { protocol: 'tls' as const, target }
  const bound = secrets.of(target.host)
  const found = (names: readonly string[]): Promise<void> => way.allow(asked, names)
  const injected =
    bound.length === 0
      ? undefined
      : await injectedRequest({ request, headers: toHost(request, forwarded), secrets: bound, found })
  const socket = await dialTls(target, addresses, { trust: trust(), signal: passage.signal, meter: way.meter(asked) })
  try {
    await way.allow(asked, injected?.names ?? [])
    return { socket, injected }
  } catch (error) {
    socket.destroy()
    throw error
  }
}
