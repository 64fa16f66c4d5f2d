import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { McpCredential } from '@berth/protocol/gateway-vault'
import type { Sealing } from '@berth/protocol/sealing'
import { z } from 'zod'
import type { Logger } from '../logger.ts'
import type { Held } from '../vaults/vaults.ts'
import { writeStateFile } from '../state-file.ts'

/** What a token endpoint has given. */
const renewed = z.strictObject({
  access_token: z.string(),
  refresh_token: z.string(),
  /** RFC 3339; null: not known. */
  expires_at: z.string().nullable(),
  renewed_at: z.string(),
})
export type Renewed = z.infer<typeof renewed>

const kept = z.strictObject({
  workspace_id: z.string(),
  vault_id: z.string(),
  credential_id: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  version: z.int(),
  /** Of a `Renewed`, as JSON, sealed for `contextOf`. */
  sealed: z.string(),
})
export type Kept = z.infer<typeof kept>

export interface RenewedTokensParts {
  readonly directory: string
  readonly sealing: Sealing
  readonly logger: Logger
}

/** Tokens that the gateway was given in the place of those of a vault: sealed, in memory and on disk, each for one version of its credential. */
export class RenewedTokens {
  readonly #parts: RenewedTokensParts
  readonly #kept = new Map<string, Kept>()

  private constructor(parts: RenewedTokensParts) {
    this.#parts = parts
  }

  /** With what an earlier process was given. What cannot be read is removed. */
  static async open(parts: RenewedTokensParts): Promise<RenewedTokens> {
    const tokens = new RenewedTokens(parts)
    await mkdir(parts.directory, { recursive: true, mode: 0o700 })
    for (const name of await readdir(parts.directory)) await tokens.#reopen(name)
    return tokens
  }

  /** Undefined: none was given for this version. */
  get(held: Held<McpCredential>): Renewed | undefined {
    const found = this.#kept.get(held.credential.id)
    if (found === undefined || found.version !== held.credential.version) return undefined
    try {
      return renewed.parse(JSON.parse(this.#parts.sealing.open(found.sealed, contextOf(held))))
    } catch {
      return undefined
    }
  }

  /** From now on these are the ones; resolves when they are on disk. When they cannot be, they last as long as the process. */
  async put(held: Held<McpCredential>, tokens: Renewed): Promise<void> {
    const { id, version } = held.credential
    const record: Kept = {
      workspace_id: held.workspaceId,
      vault_id: held.vaultId,
      credential_id: id,
      version,
      sealed: this.#parts.sealing.seal(JSON.stringify(tokens), contextOf(held)),
    }
    this.#kept.set(id, record)
    try {
      await writeStateFile(this.#file(id), JSON.stringify(record))
    } catch (error) {
      this.#parts.logger.error({ err: error, credential: id }, 'a refreshed token could not be written down')
    }
  }

  /** Removes those of which this is not true. */
  async keepOnly(isNeeded: (record: Kept) => boolean): Promise<void> {
    for (const [id, record] of this.#kept) {
      if (isNeeded(record)) continue
      this.#kept.delete(id)
      await rm(this.#file(id), { force: true })
    }
  }

  async #reopen(name: string): Promise<void> {
    try {
      const record = kept.parse(JSON.parse(await readFile(join(this.#parts.directory, name), 'utf8')))
      if (name !== `${record.credential_id}.json`) throw new Error('the file has another credential’s name')
      this.#kept.set(record.credential_id, record)
    } catch (error) {
      this.#parts.logger.warn({ err: error, file: name }, 'a refreshed token could not be read')
      await rm(join(this.#parts.directory, name), { force: true })
    }
  }

  #file(id: string): string {
    return join(this.#parts.directory, `${id}.json`)
  }
}

/** Unlike that of what a vault holds, so that neither opens in the place of the other. */
function contextOf({ workspaceId, vaultId, credential: { id, version } }: Held<McpCredential>): string {
  return JSON.stringify(['renewed', workspaceId, vaultId, id, version])
}
