/**
 * Ids: a prefix that says what it names, then 26 characters of Crockford base 32: 48 bits of time and 80 random bits. Ids of one
 * process sort in the order they were made; nobody can guess one.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from './clock.ts'

export const idPrefixes = {
  agent: 'agent_',
  environment: 'env_',
  session: 'sesn_',
  event: 'sevt_',
  thread: 'sthr_',
  key: 'apikey_',
  workspace: 'wrkspc_',
  request: 'req_',
  sandbox: 'sbx_',
} as const
export type IdKind = keyof typeof idPrefixes

export interface Ids {
  /** A new id. A sandbox's is lower-case, for it names directories and cgroups. */
  next(kind: IdKind): string
}

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const RANDOM_BITS = 80n
const RANDOM_LIMIT = 1n << RANDOM_BITS
const LENGTH = 26

/** `random(n)` answers n random bytes. */
export function createIds(clock: Clock, random: (bytes: number) => Uint8Array = randomBytes): Ids {
  let last = 0n
  const next = (): bigint => {
    const time = BigInt(clock.now().getTime())
    const fresh = time * RANDOM_LIMIT + toBigInt(random(10))
    // Within one millisecond, and when the clock is set back, order is kept by a random step from the id before.
    last = time > last / RANDOM_LIMIT ? fresh : last + 1n + toBigInt(random(5))
    return last
  }
  return {
    next: (kind) => {
      const digits = encode(next())
      return idPrefixes[kind] + (kind === 'sandbox' ? digits.toLowerCase() : digits)
    },
  }
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
}

function encode(value: bigint): string {
  let rest = value
  let digits = ''
  for (let place = 0; place < LENGTH; place++) {
    digits = ALPHABET.charAt(Number(rest & 31n)) + digits
    rest >>= 5n
  }
  return digits
}
