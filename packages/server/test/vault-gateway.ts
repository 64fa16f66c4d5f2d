/** As much of a gateway as vaults need: what it was told, in memory, and a way to be away for some calls. */
import { BerthError } from '@berth/protocol'
import type { GatewayClient } from '@berth/protocol/gateway-client'
import { type CredentialValidation, gatewayVault, type GatewayVault, vaultDigest } from '@berth/protocol/gateway-vault'
import { noGateway } from './directories.ts'

export class VaultGateway {
  readonly vaults = new Map<string, GatewayVault>()
  /** Changes whenever the gateway is another process. */
  pid = 1
  /** As long as it is, no call is answered: neither of requests nor of what the server does by the clock. */
  isAway = false
  /** So many changes from here on are not answered. */
  failures = 0
  /** How often a vault was put or removed. */
  pushes = 0
  validation: CredentialValidation | undefined

  readonly client: GatewayClient = {
    ...noGateway,
    health: () =>
      this.#answer(() => ({ protocol: 2, version: '1', pid: this.pid, upstream: 'fingerprint', sessions: 0 })),
    putVault: (id, vault) =>
      this.#change(() => {
        this.pushes += 1
        this.vaults.set(id, gatewayVault.parse(vault))
      }),
    removeVault: (id) =>
      this.#change(() => {
        this.pushes += 1
        this.vaults.delete(id)
      }),
    listVaults: ({ after, limit }) =>
      this.#answer(() =>
        [...this.vaults]
          .filter(([id]) => id > after)
          .toSorted(([a], [b]) => (a < b ? -1 : 1))
          .slice(0, limit)
          .map(([id, vault]) => ({ id, digest: vaultDigest(vault) })),
      ),
    validateCredential: () =>
      this.#answer(() => {
        if (this.validation === undefined) throw new BerthError('not_found', 'no such credential')
        return this.validation
      }),
  }

  #change(work: () => void): Promise<void> {
    if (this.failures === 0) return this.#answer(work)
    this.failures -= 1
    return noAnswer()
  }

  #answer<Result>(work: () => Result): Promise<Result> {
    return this.isAway ? noAnswer() : Promise.resolve().then(work)
  }
}

function noAnswer(): Promise<never> {
  return Promise.reject(new BerthError('unavailable', 'the gateway is away'))
}
