import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BerthError } from '@berth/protocol/error'
import {
  credentialSecrets,
  type EnvironmentCredential,
  type GatewayVault,
  gatewayVault,
  type McpCredential,
  sealingContext,
  vaultDigest,
} from '@berth/protocol/gateway-vault'
import type { Sealing } from '@berth/protocol/sealing'
import type { Logger } from '../logger.ts'
import { writeStateFile } from '../state-file.ts'

/** Vault ids name files. */
const vaultId = /^[A-Za-z0-9_-]{1,64}$/

export interface VaultsParts {
  readonly directory: string
  /** Undefined: this gateway has no key, and takes no vaults. */
  readonly sealing: Sealing | undefined
  readonly logger: Logger
}

/** Of a session: its workspace, and its vaults in the order in which they are asked. */
export interface Holder {
  readonly workspace_id: string
  readonly vaults: readonly string[]
}

/** One credential and the vault that it is in. */
export interface Held<Credential> {
  readonly vaultId: string
  readonly workspaceId: string
  readonly credential: Credential
}

/** The vaults that sessions have, in memory and on disk; their secrets sealed in both. */
export class Vaults {
  readonly #parts: VaultsParts
  readonly #vaults = new Map<string, GatewayVault>()
  /** Changes happen one after another. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(parts: VaultsParts) {
    this.#parts = parts
  }

  /** With what an earlier process was told. What cannot be read is left out: a session then has no such credential. */
  static async open(parts: VaultsParts): Promise<Vaults> {
    const vaults = new Vaults(parts)
    await mkdir(parts.directory, { recursive: true, mode: 0o700 })
    for (const name of await readdir(parts.directory)) {
      const id = name.replace(/\.json$/, '')
      if (id === name || !vaultId.test(id)) await rm(join(parts.directory, name), { force: true })
      else await vaults.#reopen(id)
    }
    return vaults
  }

  /** Resolves when it is on disk; from then on it is the one that requests find. Throws `invalid_request`, with nothing changed. */
  put(id: string, vault: GatewayVault): Promise<void> {
    checkVaultId(id)
    if (this.#parts.sealing === undefined) {
      throw new BerthError('invalid_request', 'this gateway has no key for vaults: start it with BERTH_VAULT_KEY_FILE')
    }
    return this.#inTurn(async () => {
      await writeStateFile(this.#file(id), JSON.stringify(vault))
      this.#vaults.set(id, vault)
    })
  }

  remove(id: string): Promise<void> {
    checkVaultId(id)
    return this.#inTurn(async () => {
      this.#vaults.delete(id)
      await rm(this.#file(id), { force: true })
    })
  }

  /** What each is, by id in ascending order: at most `limit` of those behind `after`. */
  list({ after, limit }: { after: string; limit: number }): { id: string; digest: string }[] {
    const ids = [...this.#vaults].filter(([id]) => id > after).sort(([a], [b]) => (a < b ? -1 : 1))
    return ids.slice(0, limit).map(([id, vault]) => ({ id, digest: vaultDigest(vault) }))
  }

  /** By `secret_name`; of several vaults that have one, the first. */
  environmentCredentials(holder: Holder): Map<string, Held<EnvironmentCredential>> {
    const found = new Map<string, Held<EnvironmentCredential>>()
    for (const held of this.#credentialsOf(holder)) {
      const { credential } = held
      if (credential.type !== 'environment_variable' || found.has(credential.secret_name)) continue
      found.set(credential.secret_name, { ...held, credential })
    }
    return found
  }

  /** `url`: in its canonical form. Of several vaults that have one for it, the first. */
  credentialFor(holder: Holder, url: string): Held<McpCredential> | undefined {
    for (const held of this.#credentialsOf(holder)) {
      const { credential } = held
      if (credential.type !== 'environment_variable' && credential.mcp_server_url === url)
        return { ...held, credential }
    }
    return undefined
  }

  /** One credential by its id, whoever has its vault. */
  find(id: string, credentialId: string): Held<GatewayVault['credentials'][number]> | undefined {
    const vault = this.#vaults.get(id)
    const credential = vault?.credentials.find((each) => each.id === credentialId)
    if (vault === undefined || credential === undefined) return undefined
    return { vaultId: id, workspaceId: vault.workspace_id, credential }
  }

  /** The secret of a credential that stands for a variable. Throws when it does not open. */
  openVariable(held: Held<EnvironmentCredential>): string {
    return credentialSecrets.environment_variable.parse(this.#open(held)).secret_value
  }

  /** Throws when it does not open. */
  openBearer(held: Held<McpCredential & { type: 'static_bearer' }>): string {
    return credentialSecrets.static_bearer.parse(this.#open(held)).token
  }

  /** Throws when it does not open. */
  openOauth(held: Held<McpCredential & { type: 'mcp_oauth' }>) {
    return credentialSecrets.mcp_oauth.parse(this.#open(held))
  }

  #open({ vaultId: id, workspaceId, credential }: Held<GatewayVault['credentials'][number]>): unknown {
    if (this.#parts.sealing === undefined) throw new Error('this gateway has no key for vaults')
    const { id: credentialId, version, sealed } = credential
    const context = sealingContext({ workspaceId, vaultId: id, credentialId, version })
    return JSON.parse(this.#parts.sealing.open(sealed, context))
  }

  *#credentialsOf({ workspace_id, vaults }: Holder): Generator<Held<GatewayVault['credentials'][number]>> {
    for (const id of vaults) {
      const vault = this.#vaults.get(id)
      // Whoever opens a session's way names its vaults; that one names another workspace's would be a fault, and must not matter.
      if (vault === undefined || vault.workspace_id !== workspace_id) continue
      for (const credential of vault.credentials) yield { vaultId: id, workspaceId: workspace_id, credential }
    }
  }

  async #reopen(id: string): Promise<void> {
    try {
      this.#vaults.set(id, gatewayVault.parse(JSON.parse(await readFile(this.#file(id), 'utf8'))))
    } catch (error) {
      this.#parts.logger.warn({ err: error, vault: id }, 'a vault could not be read')
    }
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work)
    this.#turn = turn.catch(() => undefined)
    await turn
  }

  #file(id: string): string {
    return join(this.#parts.directory, `${id}.json`)
  }
}

function checkVaultId(id: string): void {
  if (!vaultId.test(id)) throw new BerthError('invalid_request', 'vault id: letters, digits, _ and -, at most 64')
}
