/** Changes of vaults that the gateway has to know: sealed, committed, pushed, and only then answered. */
import { BerthError } from '@berth/protocol'
import type {
  CreateCredentialBody,
  CredentialValidation,
  UpdateCredentialBody,
} from '@berth/protocol/api/vault-credential'
import { type CredentialValidation as Seen, sealingContext } from '@berth/protocol/gateway-vault'
import { OneAtATime } from '@berth/sandbox/oci/one-at-a-time'
import { changedCredential } from '../domain/changed-credential.ts'
import { invalid } from '../domain/refusal.ts'
import type { StoredVault } from '../domain/vault.ts'
import { newCredential, parseAuth, type StoredCredential, toOpen } from '../domain/vault-credential.ts'
import type { Once } from '../store/run-once.ts'
import type { CredentialKey } from '../store/vault-credentials.ts'
import type { VaultKey } from '../store/vaults.ts'
import { type ActorDeps, isoNow } from './deps.ts'

type Deps = Pick<ActorDeps, 'store' | 'gateway' | 'sealing' | 'clock' | 'ids' | 'pushes'>

/** All throw `unavailable` when the change is made but the gateway does not know it yet. */
export class Vaults {
  readonly #deps: Deps
  /** By vault: a change of a credential is made of what it was. */
  readonly #turns = new OneAtATime()

  constructor(deps: Deps) {
    this.#deps = deps
  }

  createCredential(
    { body, ...key }: Omit<CredentialKey, 'id'> & { readonly body: CreateCredentialBody },
    once?: Once,
  ): Promise<StoredCredential> {
    return this.#change(key.vaultId, async () => {
      const { store, clock, ids } = this.#deps
      const now = clock.now()
      const id = ids.next('vcrd')
      const { auth, secrets } = newCredential(body.auth, now)
      const { display_name, metadata } = body
      const shown = { display_name, ...(metadata === undefined ? {} : { metadata }) }
      const sealed = this.#seal({ ...key, id }, 1, secrets)
      return store.createCredential({ ...key, id, body: shown, auth, sealed, now: now.toISOString() }, once)
    })
  }

  updateCredential(
    { body, ...key }: CredentialKey & { readonly body: UpdateCredentialBody },
    once?: Once,
  ): Promise<StoredCredential> {
    return this.#change(key.vaultId, async () => {
      const { store, clock } = this.#deps
      const now = clock.now()
      const { sealed, version, auth: json } = await store.getSealedCredential(key)
      const { auth: wanted, ...change } = body
      const auth = parseAuth(json)
      const args = { ...key, change, version, now: now.toISOString() }
      // One that is archived by now is the store's to refuse, unless this request was accepted before.
      if (wanted === undefined || sealed === null) return store.updateCredential({ ...args, auth, sealed: null }, once)
      const { credential, secretsChanged } = changedCredential(
        toOpen(auth, this.#open(key, version, sealed)),
        wanted,
        now,
      )
      const resealed = secretsChanged ? this.#seal(key, version + 1, credential.secrets) : null
      return store.updateCredential({ ...args, auth: credential.auth, sealed: resealed }, once)
    })
  }

  archiveCredential(key: CredentialKey, once?: Once): Promise<StoredCredential> {
    const { store, clock } = this.#deps
    return this.#change(key.vaultId, () => store.archiveCredential({ ...key, now: isoNow(clock) }, once))
  }

  deleteCredential(key: CredentialKey): Promise<void> {
    return this.#change(key.vaultId, () => this.#deps.store.deleteCredential(key))
  }

  archiveVault(key: VaultKey, once?: Once): Promise<StoredVault> {
    const { store, clock } = this.#deps
    return this.#change(key.id, () => store.archiveVault({ ...key, now: isoNow(clock) }, once))
  }

  deleteVault(key: VaultKey): Promise<void> {
    return this.#change(key.id, () => this.#deps.store.deleteVault(key))
  }

  /** Has the gateway try an OAuth credential at its MCP server. */
  async validate(key: CredentialKey, signal: AbortSignal): Promise<CredentialValidation> {
    const { store, gateway, clock, pushes } = this.#deps
    const { auth, archived_at } = await store.getCredential(key)
    if (archived_at !== null) throw invalid('credential_id', `${key.id} is archived`)
    const { type } = parseAuth(auth)
    if (type !== 'mcp_oauth') throw invalid('credential_id', `${key.id} is ${type}; only mcp_oauth is validated`)
    await pushes.changed(key.vaultId)
    const seen = await gateway.validateCredential(key.vaultId, key.id, signal)
    return toWire(key, seen, isoNow(clock))
  }

  /** Refused changes have nothing to tell. A change that is repeated is told again: the first time may have failed. */
  #change<Result>(vaultId: string, change: () => Promise<Result>): Promise<Result> {
    return this.#turns.run(vaultId, async () => {
      const result = await change()
      await this.#deps.pushes.changed(vaultId)
      return result
    })
  }

  #seal(key: CredentialKey, version: number, secrets: object): string {
    return this.#deps.sealing.seal(JSON.stringify(secrets), contextOf(key, version))
  }

  #open(key: CredentialKey, version: number, sealed: string): string {
    try {
      return this.#deps.sealing.open(sealed, contextOf(key, version))
    } catch (cause) {
      // What OpenSSL says of it helps nobody.
      throw new BerthError('internal', `the secrets of credential ${key.id} do not open`, { cause })
    }
  }
}

function contextOf({ workspaceId, vaultId, id: credentialId }: CredentialKey, version: number): string {
  return sealingContext({ workspaceId, vaultId, credentialId, version })
}

function toWire({ vaultId, id }: CredentialKey, seen: Seen, now: string): CredentialValidation {
  const { status, has_refresh_token, mcp_probe, refresh } = seen
  return {
    type: 'vault_credential_validation',
    vault_id: vaultId,
    credential_id: id,
    status,
    has_refresh_token,
    mcp_probe: mcp_probe && { ...mcp_probe, http_response: responseOf(mcp_probe.http_response) },
    refresh: refresh && { ...refresh, http_response: responseOf(refresh.http_response) },
    validated_at: now,
  }
}

type Response = NonNullable<Seen['mcp_probe']>['http_response']

function responseOf(response: Response): NonNullable<CredentialValidation['mcp_probe']>['http_response'] {
  if (response === null) return null
  const { status, ...rest } = response
  return { status_code: status, ...rest }
}
