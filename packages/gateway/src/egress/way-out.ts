import { timingSafeEqual } from 'node:crypto'
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'
import { once } from 'node:events'
import type { EgressDecision, EgressPolicy, EgressReason } from '@berth/protocol/gateway'
import type { AddressRule } from './addresses.ts'
import type { Audit } from './audit.ts'
import { type Meter, metered } from './metered.ts'
import { compilePolicy, hostRule, type Rule, type Target } from './policy.ts'
import { EgressRefusal } from './refusal.ts'
import type { HostResolver } from './resolver.ts'
import type { TrafficAccount } from './traffic-account.ts'
import type { Traffic } from './traffic.ts'
import { UNREAD_BYTES } from './unread-bytes.ts'

export interface WayOutParts {
  readonly resolver: HostResolver
  readonly mayDial: AddressRule
  readonly audit: Audit
  readonly traffic: Traffic
  readonly now: () => Date
}

export interface Asked {
  readonly protocol: EgressDecision['protocol']
  /** Undefined: what was asked for is no host. */
  readonly target: Target | undefined
}

/** On which a session leaves. */
export interface Terms {
  readonly policy: EgressPolicy
  /** Absent: no password is good. */
  readonly credential?: string
  /** Absent: those of the web. `named`: whoever wrote the policy has named the ports, too. */
  readonly ports?: 'named'
}

const DIAL_MS = 10_000
const MAX_DIALS = 4
/** Secrets that one decision names. */
const MAX_NAMED = 20

/** The one place where it is decided whether a session leaves, and from which it leaves. Every decision is on record before it has effect. */
export class WayOut {
  readonly #parts: WayOutParts
  readonly #sessionId: string
  readonly #account: TrafficAccount
  #rule: Rule
  #credential: Buffer | undefined

  constructor(parts: WayOutParts, sessionId: string, terms: Terms) {
    this.#parts = parts
    this.#sessionId = sessionId
    this.#account = parts.traffic.account(sessionId)
    this.#rule = ruleOf(terms)
    this.#credential = credentialOf(terms)
  }

  change(terms: Terms): void {
    this.#rule = ruleOf(terms)
    this.#credential = credentialOf(terms)
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
    const credential = this.#credential
    return credential !== undefined && given.length === credential.length && timingSafeEqual(given, credential)
  }

  /**
   * Addresses at which the target may be dialled, all of one look-up. Throws an `EgressRefusal`, on record, when the session may not go
   * there; for a host that the policy does not name, nobody is asked about it.
   */
  async addressesOf({ protocol, target }: Asked & { readonly target: Target }): Promise<string[]> {
    await this.permit({ protocol, target })
    await this.#checkAccount({ protocol, target })
    const addresses = await this.#vetted({ protocol, target })
    await this.allow({ protocol, target }, [])
    return addresses
  }

  /** Throws an `EgressRefusal`, on record, when the policy, as it is now, does not let the session go there. */
  async permit({ protocol, target }: Asked & { readonly target: Target }): Promise<void> {
    const verdict = this.#rule(target)
    if (verdict.allowed) return
    const why = verdict.reason === 'host' ? 'is not among the allowed hosts' : 'is a port that is not allowed'
    const refusal = new EgressRefusal(403, verdict.reason, `${target.host}:${target.port} ${why}`)
    throw await this.refuse({ protocol, target }, refusal)
  }

  /** Puts a request to where the session may go on record, with the names of the secrets that go with it. */
  async allow(asked: Asked, credentials: readonly string[]): Promise<void> {
    await this.#checkAccount(asked)
    await this.#record(asked, { decision: 'allow', reason: 'allowed', credentials: credentials.slice(0, MAX_NAMED) })
  }

  /** Puts the refusal on record, and answers it. */
  async refuse(asked: Asked, refusal: EgressRefusal): Promise<EgressRefusal> {
    // What is refused stays refused, whether or not that can be written down.
    const reason = refusal.reason === 'unreachable' ? 'internal' : refusal.reason
    await this.#record(asked, { decision: 'deny', reason, credentials: [] }).catch(() => undefined)
    refusal.isOnRecord = true
    return refusal
  }

  /** For connections to there. */
  meter(asked: Asked): Meter {
    return { account: this.#account, refusal: () => this.refuse(asked, uploadRefusal(this.#account)) }
  }

  async #checkAccount(asked: Asked): Promise<void> {
    await this.#account.ready()
    if (this.#account.isSpent) throw await this.refuse(asked, uploadRefusal(this.#account))
  }

  async #vetted(asked: Asked & { readonly target: Target }): Promise<string[]> {
    try {
      return await vettedAddresses(this.#parts, asked.target)
    } catch (error) {
      throw error instanceof EgressRefusal ? await this.refuse(asked, error) : error
    }
  }

  async #record(
    { protocol, target }: Asked,
    verdict: { decision: 'allow' | 'deny'; reason: EgressReason; credentials: string[] },
  ): Promise<void> {
    await this.#parts.audit.write({
      session_id: this.#sessionId,
      at: this.#parts.now().toISOString(),
      protocol,
      host: target?.host ?? null,
      port: target?.port ?? null,
      ...verdict,
    })
  }
}

function ruleOf({ policy, ports }: Terms): Rule {
  return ports === 'named' ? hostRule(policy) : compilePolicy(policy)
}

function credentialOf({ credential }: Terms): Buffer | undefined {
  return credential === undefined ? undefined : Buffer.from(credential)
}

function uploadRefusal({ limit }: TrafficAccount): EgressRefusal {
  const message = `the session has sent the ${limit} bytes that it may send in all (BERTH_EGRESS_UPLOAD_LIMIT)`
  return new EgressRefusal(403, 'upload_limit', message)
}

/** Addresses of the target, all of one look-up, all of which may be dialled. Throws an `EgressRefusal`. */
export async function vettedAddresses(
  { resolver, mayDial }: Pick<WayOutParts, 'resolver' | 'mayDial'>,
  target: Target,
): Promise<string[]> {
  const where = `${target.host}:${target.port}`
  const addresses = await resolver.resolve(target.host).catch(() => [])
  if (addresses.length === 0) throw new EgressRefusal(502, 'unresolved', `${where}: no address is known`)
  if (addresses.every((address) => mayDial(address))) return addresses
  throw new EgressRefusal(403, 'address', `${where} leads to an address that is not public`)
}

/** Half-open: a side that has said all it has to say may still listen. */
function optionsOf(host: string, port: number): TcpNetConnectOpts & { readableHighWaterMark: number } {
  return { host, port, noDelay: true, keepAlive: true, allowHalfOpen: true, readableHighWaterMark: UNREAD_BYTES }
}

export interface Dialling {
  readonly signal: AbortSignal
  /** Undefined: what goes there is said by the gateway for itself. */
  readonly meter: Meter | undefined
}

/** Connects to the first of these addresses that answers. Throws a 502. */
export async function dial(target: Target, addresses: readonly string[], { signal, meter }: Dialling): Promise<Socket> {
  const socket = await dialUnmetered(target, addresses, signal)
  return meter === undefined ? socket : metered(socket, meter)
}

/** For whoever counts what goes over it in another way. */
export async function dialUnmetered(
  target: Target,
  addresses: readonly string[],
  signal: AbortSignal,
): Promise<Socket> {
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
