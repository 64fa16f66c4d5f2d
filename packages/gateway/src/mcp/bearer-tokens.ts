import type { McpCredential } from '@berth/protocol/gateway-vault'
import type { Logger } from '../logger.ts'
import type { Held, Vaults } from '../vaults/vaults.ts'
import { needsToken } from './refusal.ts'
import type { Kept, Renewed, RenewedTokens } from './renewed-tokens.ts'
import { type Reach, refresh, type Refreshed } from './token-endpoint.ts'

export type HeldOauth = Held<Extract<McpCredential, { type: 'mcp_oauth' }>>

export interface BearerTokensParts {
  readonly vaults: Vaults
  /** Undefined: without a key there are no vaults either. */
  readonly renewed: RenewedTokens | undefined
  readonly reach: Reach
  readonly logger: Logger
  readonly now: () => Date
}

const REFRESH_MS = 15_000
/** A token is refreshed this long before it ends. */
const EARLY_MS = 60_000
/** After a refresh, whatever came of it, the token endpoint is left alone for this long. */
const REST_MS = 30_000

interface Failure {
  readonly of: Version
  readonly at: number
  readonly why: string
}

/** Of a credential: another one has other secrets. */
type Version = Pick<Kept, 'vault_id' | 'credential_id' | 'version'>

/** Of one credential of OAuth, as they are now. */
export interface OauthSecrets {
  readonly access_token: string
  readonly refresh_token: string | null
  readonly client_secret: string | null
  readonly expires_at: string | null
  /** Undefined: they are those of the vault. */
  readonly renewed_at: string | undefined
}

/** The tokens by which MCP servers are asked. Those of OAuth are refreshed here, one refresh of a credential at a time. */
export class BearerTokens implements AsyncDisposable {
  readonly #parts: BearerTokensParts
  readonly #running = new Map<string, Promise<Refreshed>>()
  readonly #failures = new Map<string, Failure>()

  constructor(parts: BearerTokensParts) {
    this.#parts = parts
  }

  /** The one to send now; refreshed, if it is about to end. Throws an `authentication` refusal when there is none that could be sent. */
  async tokenFor(held: Held<McpCredential>): Promise<string> {
    const { credential } = held
    if (credential.type === 'static_bearer') {
      return sendable(this.#open(held, () => this.#parts.vaults.openBearer({ ...held, credential })))
    }
    const oauth = { ...held, credential }
    const before = this.current(oauth)
    const left = before.expires_at === null ? Infinity : Date.parse(before.expires_at) - this.#now()
    if (left >= EARLY_MS || !this.#canRenew(oauth, before)) return sendable(before.access_token)
    const fault = await this.#renew(oauth)
    // As long as it has not ended, the old one is as good as before.
    if (fault !== undefined && left <= 0) throw needsToken(fault)
    return sendable(this.current(oauth).access_token)
  }

  /** Another one than this, which the server has refused. Undefined: there is none. Throws like `tokenFor`. */
  async tokenInsteadOf(refused: string, held: Held<McpCredential>): Promise<string | undefined> {
    const { credential } = held
    if (credential.type === 'static_bearer') return undefined
    const oauth = { ...held, credential }
    const before = this.current(oauth)
    if (before.access_token !== refused) return sendable(before.access_token)
    if (!this.#canRenew(oauth, before)) return undefined
    const fault = await this.#renew(oauth)
    if (fault !== undefined) throw needsToken(fault)
    return sendable(this.current(oauth).access_token)
  }

  /** The one that would be sent, without a refresh, and all secrets of the credential. Throws like `tokenFor`. */
  asItIs(held: Held<McpCredential>): { readonly token: string; readonly secrets: readonly (string | null)[] } {
    const { credential } = held
    if (credential.type === 'static_bearer') {
      const token = sendable(this.#open(held, () => this.#parts.vaults.openBearer({ ...held, credential })))
      return { token, secrets: [token] }
    }
    const { access_token, refresh_token, client_secret } = this.current({ ...held, credential })
    return { token: sendable(access_token), secrets: [access_token, refresh_token, client_secret] }
  }

  /** Secrets of the credential as they are now. Throws an `authentication` refusal when they do not open. */
  current(held: HeldOauth): OauthSecrets {
    const pushed = this.#open(held, () => this.#parts.vaults.openOauth(held))
    const pushedTokens = { ...pushed, expires_at: held.credential.expires_at, renewed_at: undefined }
    const renewed = this.#parts.renewed?.get(held)
    return renewed === undefined ? pushedTokens : { ...pushed, ...renewed }
  }

  /** Asks the token endpoint, or joins the one who does. What it gives is kept before this resolves. Undefined: there is nothing to ask with. */
  async refresh(held: HeldOauth): Promise<Refreshed | undefined> {
    const { refresh_token } = this.current(held)
    if (held.credential.refresh === null || refresh_token === null) return undefined
    const key = keyOf(held)
    const running = this.#running.get(key) ?? this.#begin(held)
    this.#running.set(key, running)
    try {
      return await running
    } finally {
      if (this.#running.get(key) === running) this.#running.delete(key)
    }
  }

  /** Forgets what was refreshed of credentials that are gone or have another version. */
  async forgetOthers(): Promise<void> {
    for (const [key, { of }] of this.#failures) if (!this.#isInForce(of)) this.#failures.delete(key)
    await this.#parts.renewed?.keepOnly((record) => this.#isInForce(record))
  }

  /** Waits for refreshes under way: what they are given must not be lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#running.values())
  }

  #now(): number {
    return this.#parts.now().getTime()
  }

  /** Not what lies ahead: then the clock has been put back. */
  #isRecent(at: number): boolean {
    const since = this.#now() - at
    return since >= 0 && since < REST_MS
  }

  /** Not one that was just given: if it is refused or has ended already, so would the next one. */
  #canRenew({ credential }: HeldOauth, { refresh_token, renewed_at }: OauthSecrets): boolean {
    const isFresh = renewed_at !== undefined && this.#isRecent(Date.parse(renewed_at))
    return credential.refresh !== null && refresh_token !== null && !isFresh
  }

  /** Answers why it came to nothing. */
  async #renew(held: HeldOauth): Promise<string | undefined> {
    const failure = this.#failures.get(keyOf(held))
    if (failure !== undefined && this.#isRecent(failure.at)) return failure.why
    const refreshed = await this.refresh(held)
    if (refreshed === undefined) return 'the credential has no refresh token'
    if (refreshed.status !== 'succeeded') return refreshed.why
    return this.#isInForce(versionOf(held)) ? undefined : 'the credential has changed meanwhile'
  }

  async #begin(held: HeldOauth): Promise<Refreshed> {
    const { refresh: terms, id } = held.credential
    const { access_token, refresh_token, client_secret } = this.current(held)
    if (terms === null || refresh_token === null) return { status: 'connect_error', why: 'there is no refresh token' }
    const secrets = { access_token, refresh_token, client_secret }
    const signal = AbortSignal.timeout(REFRESH_MS)
    const refreshed = await refresh(this.#parts.reach, { terms, secrets, signal })
    if (refreshed.status !== 'succeeded') {
      this.#parts.logger.warn({ credential: id, why: refreshed.why }, 'a token could not be refreshed')
      this.#failures.set(keyOf(held), { of: versionOf(held), at: this.#now(), why: refreshed.why })
      return refreshed
    }
    this.#failures.delete(keyOf(held))
    const { tokens } = refreshed
    await this.#keep(held, {
      access_token: tokens.access_token,
      refresh_token: tokens.refresh_token ?? refresh_token,
      expires_at: typeof tokens.expires_in === 'number' ? timeAt(this.#now() + tokens.expires_in * 1000) : null,
      renewed_at: timeAt(this.#now()),
    })
    return refreshed
  }

  async #keep(held: HeldOauth, tokens: Renewed): Promise<void> {
    if (this.#isInForce(versionOf(held))) await this.#parts.renewed?.put(held, tokens)
    // It may have gone while that was being written.
    if (!this.#isInForce(versionOf(held))) await this.forgetOthers()
  }

  #isInForce({ vault_id, credential_id, version }: Version): boolean {
    return this.#parts.vaults.find(vault_id, credential_id)?.credential.version === version
  }

  #open<T>(held: Held<McpCredential>, open: () => T): T {
    try {
      return open()
    } catch {
      // Without the error, which may quote what was opened.
      this.#parts.logger.warn({ vault: held.vaultId, credential: held.credential.id }, 'a credential does not open')
      throw needsToken('the credential’s secret does not open')
    }
  }
}

function versionOf({ vaultId, credential: { id, version } }: HeldOauth): Version {
  return { vault_id: vaultId, credential_id: id, version }
}

function keyOf(held: HeldOauth): string {
  return JSON.stringify(versionOf(held))
}

const LAST_TIME = Date.parse('9999-01-01T00:00:00Z')

function timeAt(ms: number): string {
  return new Date(Math.min(ms, LAST_TIME)).toISOString()
}

function sendable(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token
  throw needsToken('the credential’s token has characters that no header takes')
}
