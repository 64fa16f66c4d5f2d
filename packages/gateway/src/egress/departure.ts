import type { IncomingMessage } from 'node:http'
import { type InjectedRequest, injectedRequest } from '../injection/injected-request.ts'
import type { SessionSecrets } from '../injection/session-secrets.ts'
import { dialTls, type Trust } from './dial-tls.ts'
import { HostLine, type KeptLine } from './host-line.ts'
import type { Passage } from './passage.ts'
import { type Forwarded, toHost } from './request-head.ts'
import type { InnerHttp } from './tunnel.ts'
import { dial, type WayOut } from './way-out.ts'

export interface DepartureParts {
  readonly way: WayOut
  readonly secrets: SessionSecrets
  readonly trust: () => Trust
  /** Without a byte between host and gateway, while a request is under way. */
  readonly idleMs: number
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
  readonly line: HostLine
  /** Where the line may wait for the next request. Undefined: there is none for it. */
  readonly kept: KeptLine | undefined
  /** With secrets in it. Undefined: it goes as it was read. */
  readonly injected: InjectedRequest | undefined
}

/** Throws an `EgressRefusal`, with nothing sent. */
export async function depart(parts: DepartureParts, leaving: Leaving): Promise<Departure> {
  const { forwarded, inner, passage } = leaving
  const { target } = forwarded
  passage.target = target
  if (inner?.isSecure === true) return await departSecurely(parts, leaving, inner)
  const addresses = inner?.addresses ?? (await parts.way.addressesOf({ protocol: 'http', target }))
  const meter = parts.way.meter({ protocol: 'http', target })
  const socket = await dial(target, addresses, { signal: passage.signal, meter })
  return { line: new HostLine(socket, { idleMs: parts.idleMs }), kept: undefined, injected: undefined }
}

/** Policy and secrets are asked for anew with every request, so that one that was changed or withdrawn goes out no more. */
async function departSecurely(
  { way, secrets, trust, idleMs }: DepartureParts,
  { request, forwarded, passage }: Leaving,
  { addresses, kept }: InnerHttp,
): Promise<Departure> {
  const { target } = forwarded
  const asked = { protocol: 'tls' as const, target }
  await way.permit(asked)
  const bound = secrets.of(target.host)
  const found = (names: readonly string[]): Promise<void> => way.allow(asked, names)
  const injected =
    bound.length === 0
      ? undefined
      : await injectedRequest({ request, headers: toHost(request, forwarded), secrets: bound, found })
  const by = trust()
  const dialled = async (): Promise<HostLine> =>
    new HostLine(await dialTls(target, addresses, { trust: by, signal: passage.signal, meter: way.meter(asked) }), {
      idleMs,
      trust: by,
    })
  const used = kept?.take(by)
  let line = used ?? (await dialled())
  try {
    await way.allow(asked, injected?.names ?? [])
    passage.signal.throwIfAborted()
    // The host may have closed it meanwhile.
    if (line === used && !line.isReady) line = await dialled()
    return { line, kept, injected }
  } catch (error) {
    line[Symbol.dispose]()
    throw error
  }
}
