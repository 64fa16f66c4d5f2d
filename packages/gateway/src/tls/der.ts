/** As much of DER (X.690) as certificates are written with. Nothing is ever read with it. */

function tagged(tag: number, content: Buffer): Buffer {
  if (content.length < 128) return Buffer.concat([Buffer.from([tag, content.length]), content])
  const length: number[] = []
  for (let rest = content.length; rest > 0; rest >>>= 8) length.unshift(rest & 255)
  return Buffer.concat([Buffer.from([tag, 128 | length.length, ...length]), content])
}

export function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts))
}

export function set(...parts: readonly Buffer[]): Buffer {
  return tagged(0x31, Buffer.concat(parts))
}

/** A positive one, big-endian. */
export function integer(bytes: Buffer): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0)
  const value = first < 0 ? Buffer.from([0]) : bytes.subarray(first)
  return tagged(0x02, (value[0] ?? 0) < 128 ? value : Buffer.concat([Buffer.from([0]), value]))
}

export const isTrue = tagged(0x01, Buffer.from([0xff]))

export function bitString(bytes: Buffer, unusedBits = 0): Buffer {
  return tagged(0x03, Buffer.concat([Buffer.from([unusedBits]), bytes]))
}

export function octetString(bytes: Buffer): Buffer {
  return tagged(0x04, bytes)
}

export function utf8String(text: string): Buffer {
  return tagged(0x0c, Buffer.from(text))
}

/** `1.2.840.10045.4.3.2` */
export function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [first * 40 + second, ...rest].flatMap((part) => {
    const groups = [part & 127]
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 127) | 128)
    return groups
  })
  return tagged(0x06, Buffer.from(bytes))
}

/** In whole seconds. Up to 2049 in the short form, as certificates need it. */
export function time(at: Date): Buffer {
  const digits = at.toISOString().replaceAll(/[-:T]|\.\d+/g, '')
  return at.getUTCFullYear() < 2050 ? tagged(0x17, Buffer.from(digits.slice(2))) : tagged(0x18, Buffer.from(digits))
}

/** `[number]` around what it holds. */
export function explicit(number: number, content: Buffer): Buffer {
  return tagged(0xa0 | number, content)
}

/** `[number]` in place of the tag of a string. */
export function implicit(number: number, content: Buffer): Buffer {
  return tagged(0x80 | number, content)
}
