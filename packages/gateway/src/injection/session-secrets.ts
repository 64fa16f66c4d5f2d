import type { EgressRoute } from '@berth/protocol/gateway'
import type { EnvironmentCredential } from '@berth/protocol/gateway-vault'
import { compilePolicy } from '../egress/policy.ts'
import { EgressRefusal } from '../egress/refusal.ts'
import type { Logger } from '../logger.ts'
import type { Held, Holder, Vaults } from '../vaults/vaults.ts'

/** A session's way out, and whose credentials it has. */
export type SessionWay = EgressRoute & Holder

/** What stands in the sandbox for a secret, and the secret, for requests to one host. */
export interface HostSecret {
  readonly name: string
  readonly placeholder: string
  readonly value: string
  readonly injection: EnvironmentCredential['injection']
}

interface Parts {
  readonly vaults: Vaults
  readonly logger: Logger
}

/** The secrets that one session has for hosts, as its vaults are at the moment. */
export class SessionSecrets {
  readonly #parts: Parts
  readonly #sessionId: string
  #way: SessionWay

  constructor(parts: Parts, sessionId: string, way: SessionWay) {
    this.#parts = parts
    this.#sessionId = sessionId
    this.#way = way
  }

  change(way: SessionWay): void {
    this.#way = way
  }

  /** Is there one for the host? Opens none. */
  isBound(host: string): boolean {
    return this.#boundTo(host).length > 0
  }

  /** Throws a 502 when one of them does not open: a request could not be told from one without it. */
  of(host: string): HostSecret[] {
    return this.#boundTo(host).map(({ held, placeholder }) => {
      const { secret_name: name, injection } = held.credential
      return { name, placeholder, value: this.#open(held), injection }
    })
  }

  #boundTo(host: string): { held: Held<EnvironmentCredential>; placeholder: string }[] {
    if (this.#way.placeholders.length === 0) return []
    const held = this.#parts.vaults.environmentCredentials(this.#way)
    return this.#way.placeholders.flatMap(({ secret_name, placeholder }) => {
      const found = held.get(secret_name)
      return found !== undefined && covers(found.credential.hosts, host) ? [{ held: found, placeholder }] : []
    })
  }

  #open(held: Held<EnvironmentCredential>): string {
    try {
      return this.#parts.vaults.openVariable(held)
    } catch (error) {
      // Its message could quote what it could not read.
      const why = error instanceof Error ? error.name : typeof error
      const { vaultId: vault, credential } = held
      const where = { session: this.#sessionId, vault, credential: credential.id, why }
      this.#parts.logger.error(where, 'a secret does not open')
      throw new EgressRefusal(502, 'secret', `the secret of ${credential.secret_name} cannot be used`)
    }
  }
}

function covers(hosts: readonly string[], host: string): boolean {
  return compilePolicy({ type: 'limited', hosts: [...hosts] })({ host, port: 443 }).allowed
}
