/** Paths of entries: bytes, since names in a sandbox need not be text. */
import { z } from 'zod'

export const bytesText = z.union([z.string(), z.object({ b64: z.base64() })])
export type BytesText = z.infer<typeof bytesText>

/** One character per byte, so that paths compare and join as the bytes do. Undefined for text that no bytes stand for. */
export function toLatin1(text: BytesText): string | undefined {
  if (typeof text !== 'string') return Buffer.from(text.b64, 'base64').toString('latin1')
  return text.isWellFormed() ? Buffer.from(text, 'utf8').toString('latin1') : undefined
}

const MAX_NAME_BYTES = 255

/** Undefined when it is no path of the form that `protocol/archive.ts` describes. */
export function partsOf(path: string): string[] | undefined {
  if (path === '') return []
  const parts = path.split('/')
  const isFine = (part: string): boolean =>
    part !== '' && part !== '.' && part !== '..' && part.length <= MAX_NAME_BYTES && !part.includes('\0')
  return parts.every(isFine) ? parts : undefined
}
