/**
 * Vaults on their way to the gateway. A push carries a vault as it is in the database by then, so that the last of several, whoever asks for it, leaves
 * the newest there. What a crash or a gateway that was away has left different is found by comparing.
 */
import { BerthError, isBerthError } from '@berth/protocol'
import { vaultDigest } from '@berth/protocol/gateway-vault'
import { OneAtATime } from '@berth/sandbox/oci/one-at-a-time'
import type { EngineDeps } from './deps.ts'

const PAGE = 500

export class VaultPushes {
  readonly #deps: Pick<EngineDeps, 'store' | 'gateway' | 'logger'>
  readonly #turns = new OneAtATime()
  /** Process of the gateway that was compared last, and whether something failed to reach it since. */
  #compared: number | undefined
  #hasFailed = false

  constructor(deps: Pick<EngineDeps, 'store' | 'gateway' | 'logger'>) {
    this.#deps = deps
  }

  /** Resolves when the gateway has these vaults as they are now, or not any more. Throws what the gateway says. */
  async push(vaultIds: readonly string[]): Promise<void> {
    await Promise.all(vaultIds.map((id) => this.#turns.run(id, () => this.#push(id))))
  }

  /** The same for one that has just changed: `unavailable` says that the change is kept, and will be told later. */
  async changed(vaultId: string): Promise<void> {
    try {
      await this.push([vaultId])
    } catch (cause) {
      this.#hasFailed = true
      this.#deps.logger.warn({ err: cause, vault_id: vaultId }, 'the gateway does not know a change of a vault yet')
      const text = 'the change is kept, but the gateway does not know it yet; it is told as soon as it answers'
      throw new BerthError('unavailable', `vault ${vaultId}: ${text}`, { cause })
    }
  }

  /** Compares all vaults, where that may be necessary, and pushes those that differ. Never throws: what fails is done by the next call. */
  async reconcile(): Promise<void> {
    try {
      const { pid } = await this.#deps.gateway.health()
      if (pid === this.#compared && !this.#hasFailed) return
      // Before anything is read: what fails from here on is not in it.
      this.#hasFailed = false
      await this.#compare()
      this.#compared = pid
    } catch (error) {
      this.#compared = undefined
      if (isBerthError(error, 'unavailable')) return
      this.#deps.logger.error({ err: error }, 'vaults could not be compared with those of the gateway')
    }
  }

  async #compare(): Promise<void> {
    const { store, logger } = this.#deps
    const there = await this.#listThere()
    const differing: string[] = []
    for (let after = ''; ;) {
      const page = await store.listGatewayVaults({ after, limit: PAGE })
      for (const { id, vault } of page) {
        if (there.get(id) !== vaultDigest(vault)) differing.push(id)
        there.delete(id)
      }
      const last = page.at(-1)
      if (last === undefined) break
      after = last.id
    }
    differing.push(...there.keys())
    for (const id of differing) await this.push([id])
    if (differing.length > 0) logger.info({ vaults: differing.length }, 'vaults pushed to the gateway')
  }

  /** Digests of what the gateway has. */
  async #listThere(): Promise<Map<string, string>> {
    const there = new Map<string, string>()
    for (let after = ''; ;) {
      const page = await this.#deps.gateway.listVaults({ after, limit: PAGE })
      for (const { id, digest } of page) there.set(id, digest)
      const last = page.at(-1)
      if (last === undefined) return there
      after = last.id
    }
  }

  async #push(vaultId: string): Promise<void> {
    const { store, gateway } = this.#deps
    const vault = await store.findGatewayVault({ vaultId })
    await (vault === undefined ? gateway.removeVault(vaultId) : gateway.putVault(vaultId, vault))
  }
}
