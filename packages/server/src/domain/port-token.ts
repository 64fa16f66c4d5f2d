/** What a signed URL of a port allows, and its signature. The key is the installation's; whoever has it can make any. */
import { createHmac } from 'node:crypto'
import { BerthError } from '@berth/protocol'
import { portMethod } from '@berth/protocol/api/port'
import { z } from 'zod'
import { isSameHash } from './key.ts'

const grant = z.strictObject({
  workspaceId: z.string(),
  /** The API key that asked for the URL: with it goes the URL. */
  keyId: z.string(),
  sessionId: z.string(),
  sandboxId: z.string(),
  port: z.int(),
  method: portMethod,
  /** Milliseconds since 1970. */
  expires: z.int(),
})
export type PortGrant = z.infer<typeof grant>

const MAX_LENGTH = 1_024
/** Keeps the signature from being taken for one of anything else that the key may sign. */
const CONTEXT = 'berth port url 1\n'

export class PortTokens {
  readonly #secret: string

  constructor(secret: string) {
    this.#secret = secret
  }

  sign(grant: PortGrant): string {
    const text = Buffer.from(JSON.stringify(grant)).toString('base64url')
    return `${text}.${this.#mac(text)}`
  }

  /** `unauthenticated` for one that was altered or has expired; the message says which. */
  read(token: string, now: Date): PortGrant {
    const [text = '', mac = '', more] = token.length > MAX_LENGTH ? [] : token.split('.')
    // The texts are compared, not what they decode to: there is one way to write a signature.
    if (more !== undefined || !isSameHash(mac, this.#mac(text))) {
      throw new BerthError('unauthenticated', 'the signed URL was altered: its signature does not hold')
    }
    const granted = grant.parse(JSON.parse(Buffer.from(text, 'base64url').toString()))
    if (granted.expires <= now.getTime()) {
      throw new BerthError('unauthenticated', `the signed URL expired at ${new Date(granted.expires).toISOString()}`)
    }
    return granted
  }

  #mac(text: string): string {
    return createHmac('sha256', this.#secret).update(CONTEXT).update(text).digest('base64url')
  }
}
