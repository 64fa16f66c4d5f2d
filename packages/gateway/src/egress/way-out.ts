import { timingSafeEqual } from 'node:crypto'
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'
import { once } from 'node:events'
import type { EgressReason, EgressRoute } from '@berth/protocol/gateway'
import type { AddressRule } from './addresses.ts'
import type { Audit } from './audit.ts'
import { compilePolicy, type Rule, type Target } from './policy.ts'
import { EgressRefusal } from './refusal.ts'
import type { HostResolver } from './resolver.ts'

export interface WayOutParts {
  readonly resolver: HostResolver
  readonly mayDial: AddressRule
  readonly audit: Audit
  readonly now: () => Date
}

export interface Asked {
  readonly protocol: 'connect' | 'http'
  /** Undefined: what was asked for is no host. */
  readonly target: Target | undefined
}

const DIAL_MS = 10_000
const MAX_DIALS = 4
/**
 * Of a body that its reader does not take, beside what one read of a connection brings. Each of these bytes can be a chunk of its own, and a chunk weighs
 * some hundred.
 */
export const UNREAD_BYTES = 4 * 1024

/** The one place where it is decided whether a session leaves, and from which it leaves. Every decision is on record before it has effect. */
export class WayOut {
  readonly #parts: WayOutParts
  readonly #sessionId: string
  #rule: Rule
  #credential: Buffer

  constructor(parts: WayOutParts, sessionId: string, route: EgressRoute) {
    this.#parts = parts
    this.#sessionId = sessionId
    this.#rule = compilePolicy(route.policy)
    this.#credential = Buffer.from(route.credential)
  }

  change(route: EgressRoute): void {
    this.#rule = compilePolicy(route.policy)
    this.#credential = Buffer.from(route.credential)
  }

  /** Does the policy, as it is now, let the session go there? */
  permits(target: Target): boolean {
    return this.#rule(target).allowed
  }

  /** Is this `Proxy-Authorization` the session's? Takes as long for a wrong one as for another. */
  knows(authorization: string | undefined): boolean {
    const [scheme, encoded = ''] = authorization?.split(' ') ?? []
    if (scheme?.toLowerCase() !== 'basic') return false
    const text = Buffer.from(encoded, 'base64').toString('latin1')
    const given = Buffer.from(text.slice(text.indexOf(':') + 1), 'latin1')
    return given.length === this.#credential.length && timingSafeEqual(given, this.#credential)
  }

  /**
   * Addresses at which the target may be dialled, all of one look-up. Throws an `EgressRefusal`, on record, when the session may not go
   * there; for a host that the policy does not name, nobody is asked about it.
   */
  async addressesOf({ protocol, target }: Asked & { readonly target: Target }): Promise<string[]> {
    const where = `${target.host}:${target.port}`
    const verdict = this.#rule(target)
    if (!verdict.allowed) {
      const why = verdict.reason === 'host' ? 'is not among the allowed hosts' : 'is a port that is not allowed'
      throw await this.refuse({ protocol, target }, new EgressRefusal(403, verdict.reason, `${where} ${why}`))
    }
    const addresses = await this.#parts.resolver.resolve(target.host).catch(() => [])
    if (addresses.length === 0) {
      throw await this.refuse(
        { protocol, target },
        new EgressRefusal(502, 'unresolved', `${where}: no address is known`),
      )
    }
    if (!addresses.every((address) => this.#parts.mayDial(address))) {
      const refusal = new EgressRefusal(403, 'address', `${where} leads to an address that is not public`)
      throw await this.refuse({ protocol, target }, refusal)
    }
    await this.#record({ protocol, target }, 'allow', 'allowed')
    return addresses
  }

  /** Puts the refusal on record, and answers it. */
  async refuse(asked: Asked, refusal: EgressRefusal): Promise<EgressRefusal> {
    // What is refused stays refused, whether or not that can be written down.
    const reason = refusal.reason === 'unreachable' ? 'internal' : refusal.reason
    await this.#record(asked, 'deny', reason).catch(() => undefined)
    refusal.isOnRecord = true
    return refusal
  }

  async #record({ protocol, target }: Asked, decision: 'allow' | 'deny', reason: EgressReason): Promise<void> {
    await this.#parts.audit.write({
      session_id: this.#sessionId,
      at: this.#parts.now().toISOString(),
      protocol,
      host: target?.host ?? null,
      port: target?.port ?? null,
      decision,
      reason,
    })
  }
}

/** Half-open: a side that has said all it has to say may still listen. */
function optionsOf(host: string, port: number): TcpNetConnectOpts & { readableHighWaterMark: number } {
  return { host, port, noDelay: true, keepAlive: true, allowHalfOpen: true, readableHighWaterMark: UNREAD_BYTES }
}

/** Connects to the first of these addresses that answers. Throws a 502. */
export async function dial(target: Target, addresses: readonly string[], signal: AbortSignal): Promise<Socket> {
  const until = AbortSignal.any([signal, AbortSignal.timeout(DIAL_MS)])
  for (const host of addresses.slice(0, MAX_DIALS)) {
    const socket = connect(optionsOf(host, target.port))
    // Whoever uses it hears of its end by its close.
    socket.on('error', () => undefined)
    try {
      await once(socket, 'connect', { signal: until })
      return socket
    } catch {
      socket.destroy()
    }
  }
  throw new EgressRefusal(502, 'unreachable', `${target.host}:${target.port} does not answer`)
}
