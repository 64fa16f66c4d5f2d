/** What the first bytes of a TLS client say about whom it wants to talk to. */

export type HelloReading =
  /** Everything so far may be the beginning of a hello. */
  | { readonly state: 'incomplete' }
  | { readonly state: 'complete'; readonly serverName: string }
  | { readonly state: 'refused'; readonly fault: string }

/** Longest hello that is waited for; with post-quantum keys they have about 2 KiB. */
export const MAX_HELLO = 16 * 1024

const HANDSHAKE = 22
const CLIENT_HELLO = 1
const RECORD_HEADER = 5
const MAX_RECORD = 16_384
const SERVER_NAME = 0
/** Encrypted hellos, in their final form and an earlier one: the name that is read would not be the one that counts. */
const encrypted = new Set([0xfe0d, 0xffce])

class Fault extends Error {}

/** Reads the hello out of the first bytes of a connection, however they are cut into records. Pure; never throws. */
export function readClientHello(bytes: Buffer): HelloReading {
  try {
    const hello = assemble(bytes)
    return hello === undefined ? { state: 'incomplete' } : { state: 'complete', serverName: serverNameOf(hello) }
  } catch (error) {
    return { state: 'refused', fault: error instanceof Fault ? error.message : 'is malformed' }
  }
}

/** The handshake message without its header; undefined while there is more to come. */
function assemble(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = []
  let have = 0
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] !== HANDSHAKE) throw new Fault('is not TLS')
    if (bytes.length > at + 1 && bytes[at + 1] !== 3) throw new Fault('is not TLS')
    if (bytes.length < at + RECORD_HEADER) break
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0 || length > MAX_RECORD) throw new Fault('has a record of a wrong length')
    const part = bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length)
    parts.push(part)
    have += part.length
    at += RECORD_HEADER + length
  }
  const message = Buffer.concat(parts, have)
  if (message.length > 0 && message[0] !== CLIENT_HELLO) throw new Fault('does not begin with a hello')
  if (message.length < 4) return undefined
  const length = message.readUIntBE(1, 3)
  if (length > MAX_HELLO) throw new Fault('has too long a hello')
  if (message.length > 4 + length) throw new Fault('says more than a hello before it is answered')
  return message.length === 4 + length ? message.subarray(4) : undefined
}

/** Bytes read one field after the other; a field that is cut off is a fault. */
class Fields {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw new Fault('is malformed')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  number(length: number): number {
    return this.take(length).readUIntBE(0, length)
  }

  /** A field that begins with its length. */
  sized(lengthBytes: number): Buffer {
    return this.take(this.number(lengthBytes))
  }
}

function serverNameOf(hello: Buffer): string {
  const fields = new Fields(hello)
  fields.take(2 + 32)
  for (const lengthBytes of [1, 2, 1]) fields.sized(lengthBytes)
  if (fields.isAtEnd) throw new Fault('names no server')
  const extensions = new Fields(fields.sized(2))
  if (!fields.isAtEnd) throw new Fault('is malformed')
  const seen = new Set<number>()
  let name: string | undefined
  while (!extensions.isAtEnd) {
    const type = extensions.number(2)
    const body = extensions.sized(2)
    if (seen.has(type)) throw new Fault('has an extension twice')
    seen.add(type)
    if (encrypted.has(type)) throw new Fault('is encrypted')
    if (type === SERVER_NAME) name = readServerName(body)
  }
  if (name === undefined) throw new Fault('names no server')
  return name
}

/** Exactly one name, and of the one kind there is. */
function readServerName(body: Buffer): string {
  const list = new Fields(body)
  const names = new Fields(list.sized(2))
  if (!list.isAtEnd || names.number(1) !== 0) throw new Fault('is malformed')
  const name = names.sized(2)
  if (!names.isAtEnd) throw new Fault('names several servers')
  return name.toString('latin1')
}
