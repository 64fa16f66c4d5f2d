/** Secrets at rest: AES-256-GCM, bound to where they belong. */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const PREFIX = 'v1.'

/** Seals and opens with one key. What was sealed for one context opens for no other. */
export class Sealing {
  readonly #key: Buffer

  /** Throws a `RangeError` for a key that has not 32 bytes. */
  constructor(key: Buffer) {
    if (key.length !== KEY_BYTES) throw new RangeError(`a key has ${KEY_BYTES} bytes, not ${key.length}`)
    this.#key = key
  }

  /** `context` says whose it is and what for; it is not kept in the answer, and not secret. */
  seal(secret: string, context: string): string {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce)
    cipher.setAAD(Buffer.from(context))
    const sealed = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
    return PREFIX + Buffer.concat([nonce, sealed, cipher.getAuthTag()]).toString('base64url')
  }

  /** Throws when it was sealed with another key or for another context, or has been changed. */
  open(sealed: string, context: string): string {
    const bytes = Buffer.from(sealed.slice(PREFIX.length), 'base64url')
    if (!sealed.startsWith(PREFIX) || bytes.length < NONCE_BYTES + TAG_BYTES)
      throw new Error('this is no sealed secret')
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, NONCE_BYTES))
    decipher.setAAD(Buffer.from(context))
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
    const opened = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
    return opened.toString('utf8')
  }

  /** What follows from the key and this text, and from nothing else: 256 bits, base64url. Tells nothing of the key. */
  derive(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('base64url')
  }
}
