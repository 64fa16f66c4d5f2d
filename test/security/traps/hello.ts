/** TLS hellos, made by hand, so that they can be wrong. */
const sized = (bytes: number, body: Buffer): Buffer => {
  const length = Buffer.alloc(bytes)
  length.writeUIntBE(body.length, 0, bytes)
  return Buffer.concat([length, body])
}
const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
const extension = (type: number, body: Buffer): Buffer => Buffer.concat([number(type), sized(2, body)])

export const serverName = (...names: readonly string[]): Buffer => namesOfKind(0, names)
/** The one kind that there is, is 0. */
export const serverNameOfKind = (kind: number, name: string): Buffer => namesOfKind(kind, [name])
const namesOfKind = (kind: number, names: readonly string[]): Buffer => {
  const list = names.map((name) => Buffer.concat([Buffer.from([kind]), sized(2, Buffer.from(name, 'latin1'))]))
  return extension(0, sized(2, Buffer.concat(list)))
}
export const encryptedHello = extension(0xfe0d, Buffer.alloc(40))
export const draftEncryptedHello = extension(0xffce, Buffer.alloc(40))
export const padding = (bytes: number): Buffer => extension(21, Buffer.alloc(bytes))

/** In records of at most this size. undefined: of a client that knows no extensions. */
export function hello(extensions: readonly Buffer[] | undefined, recordSize = 16_384): Buffer {
  const fixed = [
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    sized(1, Buffer.alloc(32)),
    sized(2, number(0x1301)),
    sized(1, Buffer.alloc(1)),
  ]
  const body = Buffer.concat([...fixed, ...(extensions === undefined ? [] : [sized(2, Buffer.concat(extensions))])])
  const message = Buffer.concat([Buffer.from([1]), sized(3, body)])
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += recordSize)
    records.push(Buffer.concat([Buffer.from([22, 3, 1]), sized(2, message.subarray(at, at + recordSize))]))
  return Buffer.concat(records)
}
