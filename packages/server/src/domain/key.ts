/** API keys: 256 random bits of which the server keeps a hash alone. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

const PREFIX = 'berth_'
const HINT_LENGTH = PREFIX.length + 4

export interface NewKey {
  readonly key: string
  readonly hash: string
  /** Enough of the key to tell it from others, far too little to guess it. */
  readonly hint: string
}

export function newKey(random: (bytes: number) => Uint8Array = randomBytes): NewKey {
  const key = PREFIX + Buffer.from(random(32)).toString('base64url')
  return keyOf(key)
}

/** Of a key that exists, such as one that the operator chose; of a short one the hint shows less. */
export function keyOf(key: string): NewKey {
  return { key, hash: hashKey(key), hint: `${key.slice(0, Math.min(HINT_LENGTH, key.length / 4))}…` }
}

/** How the key ended, to be said after "the API key"; undefined: it holds. */
export function endOfKey(
  key: { readonly revoked_at: string | null; readonly expires_at: string | null },
  now: Date,
): string | undefined {
  if (key.revoked_at !== null) return 'was revoked'
  if (key.expires_at !== null && Date.parse(key.expires_at) <= now.getTime()) return `expired at ${key.expires_at}`
  return undefined
}

/** sha-256, hex: the key has 256 random bits, so nothing slower is needed. */
export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

/** Takes the same time wherever they differ. */
export function isSameHash(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}
