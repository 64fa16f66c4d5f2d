/**
 * Ids: a prefix that says what it names, then 26 characters of Crockford base 32: 48 bits of time and 80 random bits. Ids of one
 * process sort in the order they were made; nobody can guess one.
 */
import { randomBytes } from 'node:crypto'
import { type Clock, systemClock } from './clock.ts'

/** What an id names; the id is the prefix, `_`, and the digits. */
export type IdPrefix =
  | 'agent'
  | 'env'
  | 'sesn'
  | 'group'
  | 'sevt'
  | 'sthr'
  | 'apikey'
  | 'wrkspc'
  | 'req'
  | 'sbx'
  | 'chkp'
  | 'pack'
  | 'save'
  | 'vlt'
  | 'vcrd'

export interface Ids {
  /** A new id. A sandbox's is lower-case, for it names directories and cgroups. */
  next(prefix: IdPrefix): string
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
    next: (prefix) => {
      const digits = encode(next())
      return `${prefix}_${prefix === 'sbx' ? digits.toLowerCase() : digits}`
    },
  }
}

const ids = createIds(systemClock)

/** For code that runs in the store's transactions, where nothing can be injected. */
export function newId(prefix: IdPrefix): string {
  return ids.next(prefix)
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
